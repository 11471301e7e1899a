"""Debian's Chromium, without a window, driven over its own protocol (CDP)."""

import asyncio
import base64
import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--force-prefers-reduced-motion",  # every frame is painted without a graphics card, beside the call
    "--remote-debugging-port=0",
)
# Resolves when the page has changed so that the expression is true: no polling.
_UNTIL = """new Promise((resolve) => {
  const look = () => (%s) && (watcher.disconnect(), resolve(true));
  const watcher = new MutationObserver(look);
  watcher.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
  look();
})"""
_LOADED = "new Promise((resolve) => document.readyState === 'complete' ? resolve() : (window.onload = () => resolve()))"

Answer = Mapping[str, object]


class Page:
    """One page, and what it has asked the network for, or complained of."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.requests: list[str] = []
        self.complaints: list[object] = []
        self._socket = socket
        self._session = session
        self._ids = itertools.count(1000)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def command(self, method: str, **parameters: object) -> Answer:
        number = next(self._ids)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await _send(self._socket, number, method, parameters, session=self._session)
        async with asyncio.timeout(90):
            return await answer

    async def evaluate(self, expression: str) -> object:
        answer = await self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result.get("value")

    async def until(self, expression: str) -> None:
        """Wait until *expression* is true of the page."""
        try:
            await self.evaluate(_UNTIL % expression)
        except TimeoutError:
            raise AssertionError(f"never came true: {expression}\n{await self.text('body')}") from None

    async def text(self, selector: str) -> str:
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def press(self, key: str) -> None:
        """Press a key: the page is used by keyboard alone."""
        code = {"Enter": 13, "Tab": 9}[key]
        text = "\r" if key == "Enter" else ""
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        await self.command("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def tab_to(self, id: str) -> None:
        """Press Tab until the element with this id has the focus."""
        for _ in range(20):
            if await self.evaluate("document.activeElement.id") == id:
                return
            await self.press("Tab")
        raise AssertionError(f"#{id} cannot be reached by Tab")

    async def picture(self, file: Path, *, width: int = 1180, height: int = 860, dark: bool = False) -> None:
        """Take a picture of the page as it is on such a screen."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.evaluate("new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
        shot = await self.command("Page.captureScreenshot", captureBeyondViewport=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(str(shot["data"])))  # noqa: ASYNC240 - small, and nothing else is going on

    async def listen(self) -> None:
        """Take what Chromium sends, as long as it does."""
        async for raw in self._socket:
            message = json.loads(raw)
            if waiting := self._waiting.pop(message.get("id", 0), None):
                waiting.set_result(message.get("result") or message)
            elif message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}:
                self.complaints.append(message["params"])


@asynccontextmanager
async def opened(url: str, *, microphone: Path) -> AsyncIterator[Page]:
    """Yield *url* in a Chromium whose microphone plays a file, from its beginning in each call, and again."""
    playing = f"--use-file-for-fake-audio-capture={microphone}"
    async with _running(playing) as browser_url, connect(browser_url, max_size=None) as socket:
        target = (await _ask(socket, 1, "Target.createTarget", url="about:blank"))["targetId"]
        attached = await _ask(socket, 2, "Target.attachToTarget", targetId=target, flatten=True)
        page = Page(socket, str(attached["sessionId"]))
        listening = asyncio.create_task(page.listen())
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.command(f"{domain}.enable")
        await page.command("Page.navigate", url=url)
        await page.evaluate(_LOADED)
        try:
            yield page
        finally:
            listening.cancel()


@asynccontextmanager
async def _running(*flags: str) -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # its children end a little later
        process = await asyncio.create_subprocess_exec(
            "chromium", *_FLAGS, *flags, f"--user-data-dir={folder}", "about:blank", stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(60):
                while b"DevTools listening on " not in (line := await process.stderr.readline()):
                    assert line, "chromium has ended"
            reading = asyncio.create_task(process.stderr.read())
            yield line.decode().rpartition(" ")[2].strip()
            process.terminate()
            await reading
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _ask(socket: ClientConnection, number: int, method: str, **parameters: object) -> Answer:
    await _send(socket, number, method, parameters)
    while True:
        message = json.loads(await socket.recv())
        if message.get("id") == number:
            answer: Answer = message["result"]
            return answer


async def _send(
    socket: ClientConnection, number: int, method: str, parameters: Mapping[str, object], session: str | None = None
) -> None:
    addressed = {"sessionId": session} if session else {}
    await socket.send(json.dumps({"id": number, "method": method, "params": parameters, **addressed}))
