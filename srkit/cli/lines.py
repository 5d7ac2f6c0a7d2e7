"""Lines for people, without the control characters that file names may hold."""

import sys
import unicodedata

_CONTROL = ("Cc", "Cs", "Zl", "Zp")  # control, surrogate (not UTF-8), line and paragraph separator


def escaped(text: object) -> str:
    """Return a text in one line: a name must not steer the terminal, nor look like two lines."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CONTROL else c
        for c in str(text)
    )


def show(text: object) -> None:
    """Print a line on standard output, at once."""
    print(escaped(text), flush=True)  # noqa: T201


def show_error(text: object) -> None:
    """Print a line on standard error, after the program's name."""
    print(f"srkit: {escaped(text)}", file=sys.stderr)  # noqa: T201


def failures(count: int, total: int) -> str:
    """Return the last line of a command of which some images failed."""
    return f"{count} {'image' if count == 1 else 'images'} of {total} failed"
