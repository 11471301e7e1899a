"""Each colour that the page writes in can be read on each that it writes on, in light and in dark (WCAG AA)."""

import re

import pytest

from tests.examples.pipecat_bot.conftest import EXAMPLE

STYLE = (EXAMPLE / "page" / "style.css").read_text(encoding="utf-8")
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in STYLE.split("@media", 2)[:2])
PAIRS = [
    *((ink, paper) for ink in ("ink", "quiet") for paper in ("paper", "card", "tint")),
    *(("accent", "paper"), ("accent", "card"), ("warn", "card"), ("on-accent", "accent")),
]


def luminance(colour: str) -> float:
    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(colour[at : at + 2]) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids="-on-".join)
def test_text_can_be_read(colours: dict[str, str], pair: tuple[str, str]) -> None:
    darker, lighter = sorted(luminance(colours[name]) for name in pair)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
