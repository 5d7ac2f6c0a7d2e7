"""What names of models on the Hub mean on this machine, written down at their first use.

Environment:
    SRKIT_PINS: The file of pins; by default ``pins.json`` in the platform's data folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from srkit.errors import InputError, nearest
from srkit.files import atomic


@dataclass(frozen=True)
class Pin:
    """What a name was at its first use.

    Attributes:
        commit: Of the repository.
        file: In the repository.
        sha256: Of that file.
        licence: As the model card's metadata state it, or ``unknown``.
        date: Of that first use.
    """

    commit: str
    file: str
    sha256: str
    licence: str
    date: str


def location() -> Path:
    """Return where pins are kept: ``SRKIT_PINS``, or the platform's data folder."""
    import platformdirs

    chosen = os.environ.get("SRKIT_PINS")
    return Path(chosen) if chosen else platformdirs.user_data_path("srkit") / "pins.json"


def read() -> dict[str, Pin]:
    """Return all pins by the name they were made for.

    Raises:
        InputError: The file can't be read; it isn't passed over, or names would be pinned anew.
    """
    file = location()
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return {name: Pin(**row) for name, row in rows.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: pins that can't be read ({error}); mend or delete it") from error


def forget(name: str) -> Pin:
    """Remove a pin, so that the next use of the name makes a new one; return what it was.

    Raises:
        InputError: There is none of that name.
    """
    with _locked():
        known = read()
        if name not in known:
            raise InputError(f"{name} isn't pinned{nearest(name, known)}; see srkit models")
        pin = known.pop(name)
        _write(known)
    return pin


def add(name: str, resolve: Callable[[], Pin]) -> Pin:
    """Pin a name to what ``resolve`` finds, and return that; another process waits meanwhile.

    Raises:
        InputError: The file can't be written.
    """
    with _locked():
        known = read()
        if already := known.get(name):  # by that other process
            return already
        pin = resolve()
        _write({**known, name: pin})
    return pin


@contextmanager
def _locked() -> Iterator[None]:
    import filelock

    file = location()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{file}.lock")
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise InputError(f"can't write pins to {file} ({error}); set SRKIT_PINS") from error
    try:
        yield
    finally:
        lock.release()


def _write(known: Mapping[str, Pin]) -> None:
    file = location()
    text = json.dumps({name: asdict(pin) for name, pin in known.items()}, indent=1, sort_keys=True)
    try:
        with atomic(file) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"can't write pins to {file} ({error}); set SRKIT_PINS") from error
