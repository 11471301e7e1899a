"""The page, mounted on Pipecat's development server, which holds the memory open while it runs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pipecat.runner.run import app

from voicebot.answering import shared_memory

PAGE = Path(__file__).parent.parent / "page"


def mount() -> None:
    """Serve the page at `/`, and warm the memory up before the first call."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(served: FastAPI) -> AsyncGenerator[None]:
        async with shared_memory().opened(), inner(served):
            yield

    app.router.lifespan_context = lifespan
    # Before the server adds its own routes, of which "/" would lead to a page that loads a script from outside.
    app.get("/", response_class=FileResponse)(lambda: PAGE / "index.html")
    app.mount("/page", StaticFiles(directory=PAGE))
