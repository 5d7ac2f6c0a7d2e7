"""Files that appear under their final name only when they are whole."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


class atomic:  # noqa: N801 - used as a function: ``with atomic(file) as temporary:``
    """Give a temporary name beside ``file``; rename it there when the block ends well.

    The bytes are on the disk before the name is, so a crash leaves the old file or the new.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.temporary = file

    def __enter__(self) -> Path:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{self.file.name[:60]}.", suffix=".part", dir=self.file.parent
        )
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self.temporary.open("rb") as handle:
                    os.fsync(handle.fileno())
                # mkstemp makes files private; an output should look like any other new file.
                umask = os.umask(0)
                os.umask(umask)
                self.temporary.chmod(0o666 & ~umask)
                self.temporary.replace(self.file)
        finally:
            self.temporary.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """Return a file's SHA-256 as hexadecimal text."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
