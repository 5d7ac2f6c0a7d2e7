"""Verbs on full and read-only disks, with few file descriptors, and in little memory."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import verbs
from verbs import CASES, begun, copied, same

pytestmark = pytest.mark.drill

SECONDS = 120.0
SIZES = (8, 32, 128, 512)  # KiB of a disk that fills
FILES = 64
SPACE = 4 << 30  # bytes of address space


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verbs.given(tmp_path_factory.mktemp("given"))


@contextmanager
def disk(folder: Path, *options: str) -> Iterator[None]:
    """Mount a small disk at a folder."""
    words = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here, which needs root: {error}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def ended(folder: Path, name: str, before: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Run a verb to its end; return its status and what it said."""
    status, _, err = begun(folder, CASES[name].words, before=before).end(timeout=SECONDS)
    assert status in (0, 1, 2), err
    assert "Traceback" not in err, err
    lines = [line for line in err.splitlines() if line.startswith("srkit: ")]
    assert status == 0 or lines, err
    assert not list(folder.rglob("*.part")), err
    return status, err


@pytest.fixture(scope="module")
def whole(
    given: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, object]]:
    def run(name: str) -> dict[str, object]:
        folder = copied(given, tmp_path_factory.mktemp(name) / "x")
        status, err = ended(folder, name)
        assert status == 0, err
        return CASES[name].whole(folder)

    return run


@pytest.mark.parametrize("name", [name for name in CASES if name != "demo"])
def test_a_disk_that_fills_holds_whole_files(
    name: str, given: Path, whole: Callable[[str], dict[str, object]], tmp_path: Path
) -> None:
    files = whole(name)
    failed = 0
    for size in SIZES:
        folder = copied(given, tmp_path / str(size))
        (folder / "out").mkdir()
        with disk(folder / "out", f"size={size}k"):
            status, _ = ended(folder, name)
            assert same(CASES[name].whole(folder), files)
        failed += status != 0
    assert failed


@pytest.mark.parametrize("name", [name for name in CASES if name != "demo"])
def test_a_disk_that_cannot_be_written_is_one_line(name: str, given: Path, tmp_path: Path) -> None:
    folder = copied(given, tmp_path / "x")
    (folder / "out").mkdir()
    with disk(folder / "out", "ro"):
        status, err = ended(folder, name)
        assert status in (1, 2)
        assert "ead-only" in err or "permission" in err or "can't be written" in err
        assert not list((folder / "out").iterdir())


@pytest.mark.parametrize("name", CASES)
def test_few_files_may_be_open(
    name: str, given: Path, whole: Callable[[str], dict[str, object]], tmp_path: Path
) -> None:
    folder = copied(given, tmp_path / "x")
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))  # noqa: E731
    status, err = ended(folder, name, before=limit)
    assert status == 0, err
    assert CASES[name].whole(folder) == whole(name)


@pytest.mark.parametrize("name", CASES)
def test_little_memory_is_enough_or_said(name: str, given: Path, tmp_path: Path) -> None:
    folder = copied(given, tmp_path / "x")
    words = [sys.executable, "-W", "ignore", "-m", "srkit", *CASES[name].words]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))

    process = subprocess.run(
        words, cwd=folder, preexec_fn=limit, capture_output=True, text=True, timeout=300
    )
    print(f"{name}: {process.returncode} {process.stderr[-300:]}")
    assert process.returncode in (0, 1, 2), process.stderr
    assert "Traceback" not in process.stderr, process.stderr
    assert not list(folder.rglob("*.part"))
    shutil.rmtree(folder)
