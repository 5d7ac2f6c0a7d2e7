"""Files that appear under their final name only when they are whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """Give a temporary name beside ``file``; rename it there when the block ends well.

    The bytes are on the disk before the name is, so a crash leaves the old file or the new.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:60]}.", suffix=".part", dir=file.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files private; an output should look like any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """Return a file's SHA-256 as hexadecimal text."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
