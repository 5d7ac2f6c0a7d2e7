"""Lines for people, without the control characters that file names may hold."""

import sys

from srkit.errors import escaped

_LONGEST = 1500  # characters: names and keys that others chose have any length


def show(text: object) -> None:
    """Print a line on standard output, at once."""
    print(escaped(text), flush=True)  # noqa: T201


def show_error(text: object) -> None:
    """Print a line on standard error, after the program's name."""
    line = escaped(text)
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
    print(f"srkit: {line}", file=sys.stderr)  # noqa: T201


def failures(count: int, total: int) -> str:
    """Return the last line of a command of which some images failed."""
    return f"{count} {'image' if count == 1 else 'images'} of {total} failed"
