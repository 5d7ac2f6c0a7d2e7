"""What ``srkit bench`` makes of its options, and how it shows that it works."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from srkit.errors import InputError, UnknownNameError, nearest

if TYPE_CHECKING:
    from srkit.evaluation.protocol import Protocol


def by_name(option: str, given: Sequence[str]) -> dict[str, Path]:
    """Return what ``NAME=PLACE`` means, of each.

    Raises:
        InputError: One isn't of that form, or two have one name.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, place = text.partition("=")
        if not name or not equals or not place:
            raise InputError(f"{option} is NAME=PLACE, not '{text}'")
        if name in found:
            raise InputError(f"{option}: two would be called '{name}'")
        found[name] = Path(place)
    return found


def refuse(options: Mapping[str, object], why: str) -> None:
    """See that none of these options was given.

    Raises:
        InputError: One was.
    """
    for option, given in options.items():
        if given not in (None, [], ""):
            raise InputError(f"{option} {why}")


def see_writable(places: Mapping[str, Path | None]) -> None:
    """See that results can go where they are to go, before anything is computed.

    Args:
        places: By option; that of ``--report`` is a folder, the others are files.

    Raises:
        InputError: A file is where a folder should be, or the other way round, or can't be made.
    """
    for option, place in places.items():
        if place is None:
            continue
        if option != "--report" and place.is_dir():
            raise InputError(f"{option} {place}: that is a folder; name a file in it")
        above = place if option == "--report" else place.parent
        while not above.exists():
            above = above.parent
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            said = "can't be written in" if above.is_dir() else "is no folder"
            raise InputError(f"{option} {place}: {above} {said}; choose another place")


def chosen_protocol(name: str, seed: int | None, more: list[str]) -> Protocol:
    """Return the protocol, with what the command line adds to it."""
    from srkit import registry
    from srkit.evaluation.protocol import Protocol

    found = Protocol.named(name, **({} if seed is None else {"seed": seed}))
    sets = [metric for metric in more if metric in registry.offers("set_metrics")]
    known = sorted({*registry.offers("metrics"), *registry.offers("set_metrics")})
    for metric in more:
        if metric not in known:
            raise UnknownNameError(
                f"unknown metric '{metric}'{nearest(metric, known)}; known metrics: "
                f"{', '.join(known)}"
            )
    single = dict.fromkeys((*found.metrics, *(m for m in more if m not in sets)))
    both = dict.fromkeys((*found.set_metrics, *sets))
    return found.changed(metrics=tuple(single), set_metrics=tuple(both))


def parse_sides(text: str) -> tuple[int, ...]:
    """Return the numbers in ``"8,12,16"``.

    Raises:
        InputError: They aren't whole numbers of 4 or more.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) >= 4 for part in parts):
        raise InputError(f"--sides is whole numbers from 4 up with commas between, not '{text}'")
    return tuple(sorted({int(part) for part in parts}))


@contextmanager
def shown() -> Iterator[Callable[[str, int, int], None]]:
    """Show what is done on stderr, a bar for each thing, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield progress
