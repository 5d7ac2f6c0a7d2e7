"""What srkit raises on purpose.

Every message is one line that says what is wrong and what to do. The command line prints it
without a traceback and exits with status 2; anything else that escapes is our bug and keeps
its traceback.
"""

import difflib
import re
import signal
import threading
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

arrived: list[int] = []  # signals that ended, or should have ended, what ran
# Of torch, of systems, and of cuDNN and cuBLAS.
_NO_MEMORY = re.compile(
    "outofmemoryerror|out of memory|can't allocate memory|not enough memory|bad_alloc"
    "|_status_alloc_failed"
)
_CONTROL = ("Cc", "Cs", "Zl", "Zp")  # control, surrogate (not UTF-8), line and paragraph separator


class SrkitError(Exception):
    """The caller's mistake, or something missing on this machine, in one line.

    ``status`` is the exit status of a command that ends with it.
    """

    status = 2


class UnknownNameError(SrkitError):
    """A name that nothing installed provides."""


class NameClashError(SrkitError):
    """A name that two plugins provide; raised only when that name is asked for."""


class OptionError(SrkitError):
    """An option that a part doesn't take, or a value of the wrong type."""


class RecipeError(SrkitError):
    """A recipe that can't be a training run: a bad key, value or combination of parts."""


class InputError(SrkitError):
    """A file or folder that is missing, unreadable, or not what it should be."""


class Interrupted(SrkitError):  # noqa: N818 - no error, but it ends a command alike
    """SIGINT or SIGTERM arrived; what was done so far has been saved."""

    status = 130


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Handle SIGTERM as Ctrl-C in the main thread, so that no temporary file stays.

    Both are noted in `arrived`: a library may swallow the exception, or raise another for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        signal.default_int_handler(number, frame)

    handled = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handled.append(signal.SIGINT)
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ElsewhereError(SrkitError):
    """An error of another process of the same run, which reports it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class PluginError(SrkitError):
    """A plugin that failed to load or to answer; raised only under ``SRKIT_STRICT=1``."""


def one_line(error: object) -> str:
    """Return why something failed in one line: the system's words, the message, or the class."""
    text = (isinstance(error, OSError) and error.strerror) or error
    return " ".join(str(text).split()) or type(error).__name__


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Turn an OSError within into an InputError: ``what`` (``"can't write FILE"``), and why."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{what}: {one_line(error)}") from error


def ran_out(error: BaseException) -> bool:
    """Return whether an error says that a device, or the machine, has no memory left."""
    text = f"{type(error).__name__} {error}".lower()
    by_its_words = isinstance(error, RuntimeError) and _NO_MEMORY.search(text)
    return isinstance(error, MemoryError) or bool(by_its_words)


_shells: list[None] = []  # commands that run: messages of all their threads name options alike


@contextmanager
def in_shell() -> Iterator[None]:
    """Have messages name options as commands take them."""
    _shells.append(None)
    try:
        yield
    finally:
        _shells.pop()


def is_in_shell() -> bool:
    """Return whether a command of srkit runs, not a function that Python calls."""
    return bool(_shells)


def option(name: str, value: object = ...) -> str:
    """Return how the user gives an option: ``--data samples``, or ``data='samples'`` in Python.

    Args:
        name: As in Python.
        value: Its value; True is a flag; left out if the message leaves it open.
    """
    if not is_in_shell():
        return f"{name}={'...' if value is ... else repr(value)}"
    return f"--{name.replace('_', '-')}" + ("" if value in (True, ...) else f" {value}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known name most like ``name``, or ``""``."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def first_of(names: Collection[str], most: int = 5) -> str:
    """Return the first names in order, with dots where there are more."""
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")


def escaped(text: object) -> str:
    """Return a text in one line: a name must not steer the terminal, nor look like two lines."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _CONTROL else c
        for c in str(text)
    )
