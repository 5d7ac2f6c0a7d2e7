"""60 interrupts a verb: INT, TERM, a closed and a full stdout, at random moments."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
import verbs
from verbs import CASES, begun, copied, same, undisturbed

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
