"""Files that appear under their final name only when they are whole."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from srkit.errors import InputError, one_line, refused

LOCK = ".srkit.lock"
_MARK = "srkit"
_ABANDONED = 24 * 3600  # seconds without a write to another machine's file: it was killed


def cache_folder(name: str) -> Path:
    """Return a folder in ``SRKIT_CACHE``, or else in the user's cache folder of srkit."""
    chosen = os.environ.get("SRKIT_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("srkit")) / name


def real(file: Path) -> Path:
    """Return where links lead; a link to itself stays as it is, where Path.resolve would raise."""
    return Path(os.path.realpath(file))


def in_package(package: str, name: str) -> Path | None:
    """Return a file of an installed package, which isn't imported; None where there is none."""
    spec = find_spec(package)
    files = [Path(folder, name) for folder in (spec and spec.submodule_search_locations) or ()]
    return next((file for file in files if file.is_file()), None)


def is_utf8(file: Path) -> bool:
    """Return whether a name is UTF-8 to the system: some libraries take no other."""
    return os.fsencode(file).decode(errors="ignore") == str(file)


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """Give a temporary name beside ``file``; rename it there when the block ends well.

    The bytes are on the disk before the name is, so a crash leaves the old file or the new. A link
    stays, and leads to the new file; a read-only file is a PermissionError. What is neither file
    nor folder, such as a pipe or /dev/stdout, is written to directly.
    """
    file = real(file) if file.is_symlink() else file
    if file.exists() and not (file.is_file() or file.is_dir()):
        yield file
        return
    if file.exists() and not os.access(file, os.W_OK):  # which renaming would not mind
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{_MARK}-{host()}-{os.getpid()}.{secrets.token_hex(4)}"
    temporary = file.parent / f".{_short(file.name)}.{mark}.part"
    try:  # before there is a file, for an interrupt may come at any moment
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # What safetensors writes is private; an output should look like any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def require_place(file: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Raise InputError where a file can't be written, before what goes into it is computed.

    Its name is too long or a folder's, or the folder that it goes into can't be written; or it is
    one of the inputs, or lies in one and isn't JSON, which neither images nor weights are.
    """
    with refused(f"can't write {file}"), suppress(FileNotFoundError):
        file.lstat()
    if file.is_dir():
        raise InputError(f"can't write {file}: it is a folder")
    folder = next((p for p in real(file).parents if p.exists()), None)
    if folder and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise InputError(f"can't write {file}: no permission to write in {folder}")
    for each in map(Path, inputs if file.exists() else ()):
        with suppress(OSError):  # of a name that no file can have
            inside = file.suffix.lower() != ".json" and real(file).is_relative_to(real(each))
            if file.samefile(each) if each.is_file() else inside:
                raise InputError(f"{file} is an input; choose another place")


@contextmanager
def lock(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Make a folder and keep other processes from writing it meanwhile; a crash sets it free.

    InputError: another process writes it, or it can't be written.
    """
    import filelock  # most that write lock nothing

    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(folder / name).acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"{folder} is being written by another process") from error
    except OSError as error:
        raise InputError(f"can't write to {folder}: {one_line(error)}") from error
    with held:
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / name).unlink()  # who has opened it meanwhile sees that it's gone
                for each in new:
                    each.rmdir()  # if nothing came of it


def sweep(folder: Path, *, below: bool = False) -> None:
    """Delete temporary files of `atomic` that killed processes have left in a folder, or below it.

    Those of a process that runs stay, and so do young ones of other machines.
    """
    from psutil import pid_exists  # most that write files never sweep

    pattern = f".*.{_MARK}-*-*.{'?' * 8}.part"
    for file in folder.rglob(pattern) if below else folder.glob(pattern):
        with suppress(OSError, ValueError):
            machine, process = file.name.rsplit(f".{_MARK}-", 1)[1].split(".")[0].split("-")
            if machine == host():
                stale = not pid_exists(int(process))
            else:
                stale = file.stat().st_mtime < time.time() - _ABANDONED
            if stale:
                file.unlink()


def host() -> str:
    """Return eight digits that stand for this machine in names of files."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def write_text(file: Path, text: str) -> None:
    """Write a text file as `atomic` does, UTF-8; InputError if that can't be."""
    with refused(f"can't write {file}"), atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _short(name: str) -> str:
    """Return the beginning of a file's name: systems limit a name's bytes, some of them to 143."""
    while len(os.fsencode(name)) > 40:
        name = name[: min(len(name) - 1, 40)]
    return name


def sha256(file: Path) -> str:
    """Return a file's SHA-256 as hexadecimal text."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
