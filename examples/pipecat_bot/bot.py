"""A voice bot that remembers its callers.

`python bot.py demo` talks to itself in text; `python bot.py -t webrtc` serves a page to call it from. Without keys in
`.env` it hears by pocketsphinx, speaks by flite and thinks by rules. The README says more.
"""

import asyncio
import sys

from dotenv import load_dotenv
from loguru import logger
from pipecat.runner.types import RunnerArguments

load_dotenv()


async def bot(runner_args: RunnerArguments) -> None:
    """Answer one call: what Pipecat's development server and Pipecat Cloud call."""
    from voicebot.answering import answer_call

    await answer_call(runner_args)


def main() -> None:
    if sys.argv[1:] == ["demo"]:
        from voicebot.demo import demo

        logger.remove()
        sys.exit(0 if asyncio.run(demo()) else 1)
    from pipecat.runner.run import main as serve

    from voicebot.site import mount

    mount()
    serve()


if __name__ == "__main__":
    main()
