"""Two runs in one folder: the second is refused, or both share it; a crash sets it free."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from srkit.batch.ledger import Ledger
from srkit.errors import InputError
from srkit.files import lock

Crops = Callable[[Path, int, int], list[Path]]
Cli = Callable[..., tuple[int, str, str]]
Refused = Callable[..., str]

HOLDER = """
import sys, time
from pathlib import Path
from srkit.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_crash_sets_a_folder_free(tmp_path: Path) -> None:
    folder = tmp_path / "below" / "out"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(InputError, match="out is being written by another process"):
            lock(folder).__enter__()
        holder.kill()
    for _ in range(2):
        with lock(folder):
            with pytest.raises(InputError):
                lock(folder).__enter__()
            (folder / "result").touch()
    assert [file.name for file in folder.iterdir()] == ["result"]


def test_a_folder_in_which_nothing_was_written_goes(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("old", "new", "new/below"):
        with lock(tmp_path / name):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cant_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"can't write to .*file/out: Not a directory"):
        lock(tmp_path / "file" / "out").__enter__()


@pytest.mark.parametrize(
    "verb",
    [
        ("degrade", "in", "out"),
        ("prepare", "in", "out"),
        ("bench", "bicubic", "--data", "in", "--report", "out"),
        ("bench", "--data", "in", "--write-lr", "out"),
    ],
    ids=lambda verb: " ".join(verb[:2]),
)
def test_the_second_run_in_a_folder_is_refused(
    tmp_path: Path,
    crops: Crops,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
    verb: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    crops(Path("in"), 2, 64)
    with lock(Path("out")):
        assert refused(*verb) == "srkit: out is being written by another process"
        assert [file.name for file in Path("out").iterdir()] == [".srkit.lock"]


def test_runs_of_upscale_share_a_folder(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    """Each may begin with an image of its own, as with ``xargs -P``: none waits for another."""
    inputs = crops(tmp_path / "in", 2, 8)
    with lock(tmp_path / "out"):
        for file in inputs:
            status, *_ = cli("upscale", file, "-o", tmp_path / "out", "--model", "bicubic")
            assert status == 0
    assert Ledger(tmp_path / "out", ".srkit-upscale").rows.keys() == {f.name for f in inputs}


def test_what_several_note_at_once_is_noted_whole(tmp_path: Path) -> None:
    ledgers = [Ledger(tmp_path, "noted") for _ in range(4)]

    def note(ledger: Ledger, number: int) -> None:
        for index in range(50):
            ledger.add(f"{number}-{index}", [], text="x" * 2000)

    threads = [threading.Thread(target=note, args=(each, n)) for n, each in enumerate(ledgers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in (tmp_path / "noted" / "1-of-1.jsonl").read_text().splitlines():
        json.loads(line)
    assert len(Ledger(tmp_path, "noted").rows) == 200
