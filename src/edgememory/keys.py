"""Names for things in stores: injective, matched exactly, never by prefix or pattern."""

import hmac
import re
import unicodedata
from hashlib import sha256
from urllib.parse import quote

from edgememory.models import UserKey

MAX_KEY_BYTES = 512
"""Workers KV takes no longer key."""

_SPACES = re.compile(r"\s+")


def entry_key(user: UserKey, *, secret: str | None = None) -> str:
    """Return the key of a user's entry, `em:1:{namespace}:{user}`.

    Parts are percent-encoded, so that no part can hold a separator. Too long a key has a hash in the user's place,
    marked by a `#` that no encoded part can hold. With a *secret* every user has an HMAC-SHA256 there, marked by a `$`:
    no phone number then stands in a URL, a dashboard or a log. It is of namespace and user, which no NUL can be in.
    """
    namespace = quote(user.namespace, safe="")
    if secret is not None:
        named = f"{user.namespace}\0{user.user_id}".encode()
        return f"em:1:{namespace}:${hmac.digest(secret.encode(), named, sha256).hex()}"
    key = f"em:1:{namespace}:{quote(user.user_id, safe='')}"
    if len(key) <= MAX_KEY_BYTES:
        return key
    return f"em:1:{namespace}:#{sha256(user.user_id.encode()).hexdigest()}"


def fact_key(text: str) -> str:
    """Return the key under which a fact is known: two texts that differ only in case, spacing or form share it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Folding may take characters apart again, one case of a letter and not the other.
    normalised = _SPACES.sub(" ", unicodedata.normalize("NFKC", folded)).strip()
    return sha256(normalised.encode()).hexdigest()[:32]
