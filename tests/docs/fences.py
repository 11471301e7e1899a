"""The code that stands in the documentation."""

import re
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def fences(page: str, language: str) -> list[str]:
    """Return the fenced blocks of *language* in a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [dedent(code) for _, tag, code in _FENCE.findall(text) if tag == language]
