"""Lines for people, without the control characters that file names may hold."""

import sys

from srkit.errors import escaped


def show(text: object) -> None:
    """Print a line on standard output, at once."""
    print(escaped(text), flush=True)  # noqa: T201


def show_error(text: object) -> None:
    """Print a line on standard error, after the program's name."""
    print(f"srkit: {escaped(text)}", file=sys.stderr)  # noqa: T201


def failures(count: int, total: int) -> str:
    """Return the last line of a command of which some images failed."""
    return f"{count} {'image' if count == 1 else 'images'} of {total} failed"
