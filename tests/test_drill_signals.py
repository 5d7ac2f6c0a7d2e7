"""60 interrupts a verb: INT, TERM, a closed and a full stdout, at random moments."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import verbs
from verbs import CASES, begun, copied, same, undisturbed

from srkit.files import atomic

COUNT = 60
EACH = 10  # after so many the verb is run to its end
SECONDS = 30.0  # to end in
KINDS = ("INT", "TERM", "closed", "full")
ENDINGS = ("interrupted", "stopped", "can't write the output")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verbs.given(tmp_path_factory.mktemp("given"))


def drill(name: str, given: Path, tmp_path: Path, count: int) -> None:
    case, draw = CASES[name], random.Random(name)
    seconds, expected = undisturbed(case, copied(given, tmp_path / "undisturbed"))
    inside = 0
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        folder, moment = copied(given, tmp_path / "disturbed"), draw.uniform(0, seconds)
        fork = begun(folder, case.words, kind, moment)
        if kind in ("INT", "TERM"):
            time.sleep(moment)
            status, out, err = fork.end(getattr(signal, f"SIG{kind}"), timeout=SECONDS)
            allowed = {0, 130}
        else:
            status, out, err = fork.end(timeout=seconds * 10 + SECONDS)
            allowed = {0, 1}
        what = f"{name} {number}: {kind} after {moment:.3f} s: {status}\n{out}\n{err}"
        assert status in allowed, what
        assert "Traceback" not in err, what
        ends = [line for line in err.splitlines() if any(word in line for word in ENDINGS)]
        assert len(ends) == (status != 0 and kind != "closed"), what  # nobody reads on
        assert not ends or ends[0].startswith("srkit: "), what
        inside += status != 0
        assert not list(folder.rglob("*.part")), what
        assert same(case.whole(folder), expected), what
        if (number + 1) % EACH == 0:
            started = (folder / "out").is_dir() and any((folder / "out").iterdir())
            status, _, err = begun(folder, case.again if started else case.words).end(timeout=600)
            assert status == 0, f"{what}\nagain: {err}"
            assert case.whole(folder) == expected, what
    print(f"{name}: {inside} of {count} ended early, of {seconds:.1f} s")


@pytest.mark.drill
@pytest.mark.parametrize("name", CASES)
def test_a_verb_ends_cleanly_at_any_moment(name: str, given: Path, tmp_path: Path) -> None:
    drill(name, given, tmp_path, COUNT)


@pytest.mark.parametrize("name", ["degrade"])
def test_some_interrupts_end_cleanly(name: str, given: Path, tmp_path: Path) -> None:
    drill(name, given, tmp_path, 8)


# A file that is interrupted while it's being opened is closed by Python.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_line_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Each line that writing a file takes, Python's own too, is in turn where one arrives."""
    file, left = tmp_path / "x.txt", -1

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= event != "return"  # where no signal arrives
        if left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return step

    def write() -> None:
        with atomic(file) as temporary:
            temporary.write_text("new")

    def interrupted(after: int) -> bool:
        nonlocal left
        left, before = after, sys.gettrace()
        sys.settrace(step)
        try:
            write()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    after = 0
    while after == 0 or interrupted(after):
        after += 1
        assert [*tmp_path.iterdir()] in ([], [file])
        assert not file.exists() or file.read_text() == "new"
        file.unlink(missing_ok=True)
    assert after > 100
    assert left > 0
