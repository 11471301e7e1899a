"""What is going on, for somebody who waits: a bar on a terminal, a line a scenario elsewhere."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

_PAUSE = 0.5


class Progress:
    """Draws only when it is told that nobody is being timed: drawing takes longer than a warm open."""

    def __init__(self, console: Console, bars: Bars) -> None:
        self._console = console
        self._bars = bars
        self._next = 0.0

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def of(self, scenario: str, total: int) -> Callable[[bool], None]:
        """Return what to call after each step, with whether this is a moment to draw."""
        if not self._console.is_terminal:
            self.say(f"{scenario}: {total} calls")
        task = self._bars.add_task(scenario, total=total)

        def advance(quiet: bool) -> None:
            self._bars.advance(task)
            if quiet and monotonic() >= self._next:
                self._bars.refresh()
                self._next = monotonic() + _PAUSE

        return advance


@contextmanager
def shown_progress(console: Console) -> Generator[Progress]:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as bars:
        yield Progress(console, bars)
        bars.refresh()
