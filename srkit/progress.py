"""How far things are: bars on a terminal or in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import datetime
import html
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from srkit.errors import escaped

EVERY = 30.0  # seconds between lines where there is neither a terminal nor a notebook
WIDTH = 54  # characters of a bar, counts and time left, without what is said beside them
REFRESH = 0.5  # seconds between changes in a notebook


class Bars:
    """A bar for each thing that is done, called with what it is, how much, and of how much.

    Args:
        console: Where they are shown.
        lines: Without a terminal, say it in a line every half minute; else be silent there.
    """

    def __init__(self, console: Console | None = None, *, lines: bool = False) -> None:
        self.console, self.lines = console or Console(stderr=True), lines
        self.notebook = self.console.is_jupyter
        width = max(1, self.console.width - WIDTH)
        rest = Column(no_wrap=True, overflow="ellipsis", max_width=width)
        self.bars = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}", markup=False, table_column=rest),
            console=self.console,
            disable=self.notebook or not self.console.is_terminal,
            transient=True,
        )
        self.tasks: dict[str, list[Any]] = {}  # where it began, when, when last shown, its bar

    @property
    def silent(self) -> bool:
        """Whether nothing is shown."""
        return self.bars.disable and not self.notebook and not self.lines

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, what: str, done: float, total: float, now: str = "") -> None:
        """Show how much of a total is done of something; ``now`` is what else there is to say."""
        clock = time.monotonic()
        if what not in self.tasks:
            self.tasks[what] = [done, clock, clock, self._bar(what, done, total, now)]
        first, began, shown, bar = self.tasks[what]
        every = REFRESH if self.notebook else EVERY
        if not self.bars.disable:
            self.bars.update(bar, completed=done, total=total, now=now)
        elif clock - shown >= every or (self.notebook and done >= total):
            self.tasks[what][2] = clock
            seconds = (clock - began) / max(1, done - first) * (total - done)
            left = datetime.timedelta(seconds=round(seconds))
            text = f"{what} {done:,.0f} of {total:,.0f}  {now}  {left} left"
            if self.notebook:
                bar.update(_html(text, done, total), raw=True)
            elif self.lines:
                self.say(text)

    def _bar(self, what: str, done: float, total: float, now: str) -> Any:
        if self.notebook:
            from IPython.display import display

            return display(  # type: ignore[no-untyped-call]
                _html(what, done, total), raw=True, display_id=True
            )
        if self.bars.disable:
            return None
        self.bars.start()
        return self.bars.add_task(what, total=total, completed=int(done), now=now)

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if self.notebook:
            print(escaped(text))  # noqa: T201
        elif not self.silent:
            self.console.print(escaped(text), highlight=False, markup=False)


def _html(text: str, done: float, total: float) -> dict[str, str]:
    bar = f'<progress value="{done:g}" max="{total:g}"></progress> {html.escape(text)}'
    return {"text/plain": text, "text/html": bar}


def duration(seconds: float) -> str:
    """Return a time in one unit, of which there are two or more."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
