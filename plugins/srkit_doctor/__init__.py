"""``srkit doctor``: what this machine has for srkit, and what to do about what it lacks."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import NamedTuple

import typer

from srkit.errors import escaped


class Finding(NamedTuple):
    """A line of the report.

    Attributes:
        what: Its subject, such as a part's name.
        state: What was seen.
        todo: A command or a sentence that mends it; empty where nothing is wrong.
        broken: Whether something that should work doesn't; else it is only absent.
    """

    what: str
    state: str
    todo: str = ""
    broken: bool = False


def doctor() -> None:
    """Check this machine, and say what to do about what it lacks.

    Nothing is downloaded or changed. The exit status is 1 where something is broken.

    Examples:
        srkit doctor
        srkit doctor > report.txt
    """
    from srkit_doctor.checks import SECTIONS

    broken = False
    for title, check in SECTIONS.items():
        findings = list(check())
        typer.echo(f"{title}\n" + "\n".join(_lines(findings)))
        broken |= any(finding.broken for finding in findings)
    raise typer.Exit(int(broken))


def _lines(findings: Iterable[Finding]) -> Iterable[str]:
    rows = list(findings)
    width = max((len(row.what) for row in rows), default=0)
    for row in rows:
        mark = "!!" if row.broken else "--" if row.todo else "  "
        yield from _wrapped(f"{mark} {row.what.ljust(width)}  ", row.state)
        if row.todo:
            yield from _wrapped("      -> ", row.todo)


def _wrapped(start: str, text: str) -> list[str]:
    """Return a line, or in a terminal as many as it has to be."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    start, text = escaped(start), escaped(text)
    lines = textwrap.wrap(
        text, max(columns - len(start), 20), break_long_words=False, break_on_hyphens=False
    )
    return [f"{start if not n else ' ' * len(start)}{line}" for n, line in enumerate(lines or [""])]
