"""The page in a real browser, by keyboard: two calls with a voice, and then the caller is forgotten."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.examples.pipecat_bot.chromium import Page, opened
from tests.examples.pipecat_bot.conftest import needs
from tests.examples.pipecat_bot.speech import microphone_file

PICTURES = Path(__file__).parents[3] / "build" / "pipecat_bot"
INTRODUCTION = "my name is michael and i live in boston"
WELCOME = "Welcome back, Michael! I remember that you live in Boston."


@pytest.fixture
def microphone(tmp_path: Path) -> Path:
    return tmp_path / "microphone.wav"


@pytest.fixture
async def page(bot_url: str, microphone: Path) -> AsyncIterator[Page]:
    """The page, opened; the caller waits for the greeting to be over, and says who they are until that is known."""
    needs("chromium")
    microphone_file(microphone, silence=11, text=INTRODUCTION)
    async with opened(bot_url, microphone=microphone) as page:
        yield page


def shows(selector: str, text: str) -> str:
    return f"document.querySelector('{selector}').innerText.includes('{text}')"


async def pick_up(page: Page) -> None:
    await page.tab_to("call")
    await page.press("Enter")
    await page.until(shows("#state", "In the call"))


async def hang_up(page: Page) -> None:
    await page.tab_to("call")
    await page.press("Enter")
    await page.until(shows("#state", "The call is over"))


@pytest.mark.spoken
@pytest.mark.timeout(400)  # three calls, and each takes as long as what is said in it
async def test_the_page_shows_what_is_remembered_and_forgets_it_when_asked(
    page: Page, bot_url: str, microphone: Path
) -> None:
    await pick_up(page)
    await page.until(shows("#transcript", "We have not met."))
    assert "Nothing yet." in await page.text("#known")
    await page.until(shows("#known", "Lives in Boston"))
    await page.until(shows("#transcript", INTRODUCTION))
    await page.until(shows("#transcript", "Nice to meet you, Michael."))
    await page.picture(PICTURES / "first-call.png")
    await hang_up(page)

    microphone_file(microphone, silence=11)
    await pick_up(page)
    await page.until(shows("#transcript", WELCOME))
    await page.until(shows("#found", "Found in"))
    await page.picture(PICTURES / "second-call-light.png")
    await page.picture(PICTURES / "second-call-dark.png", dark=True)
    await page.picture(PICTURES / "second-call-phone.png", width=390, height=844)

    await page.tab_to("forget")
    await page.press("Enter")
    await page.until(shows("#receipt", "You are forgotten"))
    await page.until(shows("#known", "Nothing yet."))
    await page.picture(PICTURES / "receipt.png")
    await hang_up(page)

    await pick_up(page)
    await page.until(shows("#transcript", "We have not met."))
    await hang_up(page)
    assert [url for url in page.requests if not url.startswith(bot_url)] == []
    assert page.complaints == []
