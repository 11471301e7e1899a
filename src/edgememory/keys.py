"""Names for things in stores: injective, matched exactly, never by prefix or pattern."""

import re
import unicodedata
from hashlib import sha256
from urllib.parse import quote

from edgememory.models import UserKey

MAX_KEY_BYTES = 512
"""Workers KV takes no longer key."""

_SPACES = re.compile(r"\s+")


def entry_key(user: UserKey) -> str:
    """Return the key of a user's entry, `em:1:{namespace}:{user}`.

    Parts are percent-encoded, so that no part can hold a separator. Too long a key has a hash in the user's place,
    marked by a `#` that no encoded part can hold.
    """
    namespace = quote(user.namespace, safe="")
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
