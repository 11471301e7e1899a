"""Entries that only who has the key can read: AES-256-GCM around an entry's bytes. Needs the extra `crypto`."""

import base64
import binascii
from collections.abc import Sequence
from hashlib import sha256
from os import urandom

from edgememory.errors import ConfigError, CorruptEntryError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:
    raise ImportError("sealing needs the extra `crypto`: pip install 'edgememory[crypto]'") from error

_MAGIC = b"EMS1"
_KEY_ID = 8
_NONCE = 12


class Sealing:
    """Seals with the first of *keys*, and opens what any of them has sealed: put a new one in front to rotate.

    A key is 32 random bytes, in base64. What is sealed names its key by a hash, and belongs to the store key that it
    was sealed under: moved to another user's place, it does not open.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ConfigError("sealing needs at least one key: 32 random bytes in base64 (openssl rand -base64 32)")
        secrets = [_secret(key) for key in keys]
        self._ciphers = {sha256(secret).digest()[:_KEY_ID]: AESGCM(secret) for secret in secrets}
        self._current = next(iter(self._ciphers))

    def seal(self, plain: bytes, key: str) -> bytes:
        """Return *plain* sealed, as what is stored under *key*."""
        header, nonce = _MAGIC + self._current, urandom(_NONCE)
        return header + nonce + self._ciphers[self._current].encrypt(nonce, plain, header + key.encode())

    def open(self, sealed: bytes, key: str) -> bytes:
        """Return what was sealed under *key*.

        Raises:
            CorruptEntryError: it was not, or was changed since, or by a key that is not known here.
        """
        start = len(_MAGIC) + _KEY_ID
        header, nonce = sealed[:start], sealed[start : start + _NONCE]
        cipher = self._ciphers.get(header[len(_MAGIC) :]) if header.startswith(_MAGIC) else None
        if cipher is None or len(nonce) < _NONCE:
            raise CorruptEntryError("not sealed by a key that is known here")
        try:
            return cipher.decrypt(nonce, sealed[start + _NONCE :], header + key.encode())
        except InvalidTag as error:
            raise CorruptEntryError("a sealed entry was changed, or is another user's") from error


def _secret(key: str) -> bytes:
    try:
        secret = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError("a sealing key must be 32 bytes in base64 (openssl rand -base64 32)") from error
    if len(secret) != 32:
        raise ConfigError(f"a sealing key must be 32 bytes in base64, not {len(secret)} (openssl rand -base64 32)")
    return secret
