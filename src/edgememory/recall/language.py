"""The languages whose words can be stemmed, on both sides: by Snowball here, by the same algorithm in Postgres."""

from typing import Literal

Language = Literal[
    "danish",
    "dutch",
    "english",
    "finnish",
    "french",
    "german",
    "hungarian",
    "italian",
    "norwegian",
    "portuguese",
    "romanian",
    "russian",
    "spanish",
    "swedish",
    "turkish",
    "simple",
]
"""The names are Postgres' text search configurations. `simple` stems nothing: for Japanese, Chinese, and all others.
Chinese and Japanese characters are taken in pairs, whatever the language."""
