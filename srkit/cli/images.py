"""What the verbs that turn image files into image files have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import track

from srkit.errors import InputError

Job = TypeVar("Job")


def tell(console: Console, note: str) -> None:
    """Show what the user should know of a result, in one line beside the results."""
    console.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)


def each(
    jobs: Sequence[Job],
    process: Callable[[int, Job], Iterable[Path]],
    verb: str,
    console: Console,
    *,
    quiet: bool,
) -> None:
    """Do one job after another; name those that fail, and the files of the others.

    Args:
        jobs: In their order.
        process: Given a job's number and the job, does it and returns the files it wrote.
        verb: Shown beside the progress bar.
        console: For the bar.
        quiet: Without a bar.

    Raises:
        typer.Exit: With status 1, where some failed.
    """
    failed = 0
    shown = track(jobs, verb, console=console, disable=quiet, transient=True)
    for number, job in enumerate(shown):
        try:
            files = process(number, job)
        except InputError as error:
            print(f"srkit: {error}", file=sys.stderr)  # noqa: T201
            failed += 1
            continue
        for file in files:
            print(file)  # noqa: T201
    if failed:
        word = "image" if failed == 1 else "images"
        print(f"srkit: {failed} {word} of {len(jobs)} failed", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)
