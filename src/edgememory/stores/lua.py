"""Scripts that a server runs."""

from hashlib import sha1

from msgspec import Struct


class Script(Struct, frozen=True):
    """A script, and the name under which a server knows it once it has run it."""

    text: str
    sha1: str


def script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
