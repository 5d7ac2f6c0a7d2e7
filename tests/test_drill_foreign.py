"""500 mutants each of what others may have written: a line or a use of it, nothing else."""

from __future__ import annotations

import json
import random
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
import skimage.data
import tomli_w
from forks import Fork
from mutations import Documents, as_json
from PIL import Image
from srkit_hub import hub
from training import tiny

import srkit
from srkit.cli import main
from srkit.evaluation.protocol import Protocol
from srkit.models import checkpoint
from srkit.recipe import Recipe
from srkit.training import run_folder

COUNT = 500
SMALL = 10  # of them, in the default tests
SECONDS = 30.0  # for one
MEMORY = 1 << 30  # bytes beyond what the process had, over all of a kind
CONTROL = set(range(32)) - {10} | {127}

Drill = Callable[[int], Iterator[tuple[str, Callable[[], Any]]]]
Kind = Callable[[Path, int], Iterator[tuple[bytes, Callable[[], int]]]]


@pytest.fixture
def drilled(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[Kind, int], int]:
    """Run what a kind of mutants does; return how many of them were used rather than refused."""

    def run(kind: Kind, count: int) -> int:
        before = peak()
        faults, used = [], 0
        for number, (content, call) in enumerate(kind(tmp_path, count)):
            capsys.readouterr()
            began = time.process_time()
            try:
                signal.setitimer(signal.ITIMER_REAL, 4 * SECONDS)  # others may be computing, too
                status = call()
                signal.setitimer(signal.ITIMER_REAL, 0)
                said = capsys.readouterr()
                faults += [(number, why, content[:300]) for why in wrong(status, said)]
                used += status == 0
            except BaseException as error:
                signal.setitimer(signal.ITIMER_REAL, 0)
                if isinstance(error, KeyboardInterrupt):
                    raise
                why = traceback.format_exc().splitlines()[-12:]
                faults.append((number, "\n".join(why), content[:300]))
                print(faults[-1], file=sys.__stderr__)
            if time.process_time() - began > SECONDS:
                faults.append((number, "too slow", content[:300]))
        report = "\n\n".join(f"{number}: {why}\n{content!r}" for number, why, content in faults)
        assert not faults, f"{len(faults)} faults\n{report}"[:20_000]
        assert peak() - before < MEMORY
        return used

    def late(*_: object) -> None:
        raise TimeoutError("a hang")

    signal.signal(signal.SIGALRM, late)
    return run


def wrong(status: int, said: Any) -> list[str]:
    """Return what a verb must not say."""
    faults = [] if status in (0, 1, 2) else [f"status {status}"]
    lines = said.err.splitlines()
    if "Traceback" in said.err:
        faults.append(said.err)
    if CONTROL & set((said.out + said.err).encode(errors="replace")):
        faults.append(f"control characters: {said.out + said.err!r:.300}")
    if status == 2 and (said.out or len(lines) != 1 or not lines[0].startswith("srkit: ")):
        faults.append(f"more than a line: {said.out!r:.300} {said.err!r:.600}")
    if max(map(len, lines), default=0) > 2000:
        faults.append(f"a long line: {said.err:.200}")
    return faults


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def verb(*words: object) -> Callable[[], int]:
    return lambda: main([str(word) for word in words])


def library(call: Callable[[], Any]) -> Callable[[], int]:
    """Return a call that says its SrkitError as a verb would."""

    def run() -> int:
        try:
            call()
        except srkit.SrkitError as error:
            return error.status
        return 0

    return run


def photo(file: Path, side: int = 48, at: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = skimage.data.astronaut()[at : at + 200, 120:320]
    Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side)).save(file)
    return file


# --- kinds --------------------------------------------------------------------------------------


def recipes(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Recipes, each tried by ``degrade``, and by ``train`` where it is one."""
    documents = Documents(1, tomli_w.dumps)
    values = {**Recipe.from_toml(tiny(steps=1).to_toml()).model_dump(mode="json")}
    values = _without_none(values)
    image, file = photo(folder / "in" / "a.png"), folder / "recipe.toml"
    for number in range(8):
        photo(folder / "photos" / f"{number}.png", at=10 * number)
    for _ in range(count):
        content = documents.mutant(values)
        file.write_bytes(content)

        def call() -> int:
            status = main(["degrade", str(image), str(folder / "lr.png"), "--recipe", str(file)])
            if status == 0:
                words = ["train", file, "--data", folder / "photos", "--out", folder / "run"]
                status = limited(folder, *words, "--steps", 1, "--device", "cpu")
                shutil.rmtree(folder / "run", ignore_errors=True)
            return status

        yield content, call


def limited(folder: Path, *words: object) -> int:
    """Run a verb in a copy of the process that may take 6 GB beyond what this one has."""

    def call() -> int:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + (6 << 30),) * 2)
        return main([str(word) for word in words])

    status, _, err = Fork(folder, call, NO_COLOR="1").end(timeout=4 * SECONDS)
    assert "Traceback" not in err, err[-3000:]
    assert status in (0, 1, 2), err[-3000:]
    assert status == 0 or err.splitlines()[-1].startswith("srkit: "), err[-3000:]
    return min(status, 1)  # this process has said nothing


def _without_none(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_none(value) for key, value in values.items() if value is not None}
    return values


def protocols(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Protocols, each by the LR images of ``bench``, and some by all of it."""
    documents = Documents(2, tomli_w.dumps)
    values = _without_none({**Protocol.named("paper").model_dump(mode="json"), "size": 32})
    photo(folder / "photos" / "a.png"), photo(folder / "photos" / "b.png", at=50)
    file = folder / "own.toml"
    for number in range(count):
        content = documents.mutant(values)
        file.write_bytes(content)
        words = ["bench", "bicubic", "--data", folder / "photos", "--protocol", file]
        words += ["--device", "cpu"] if number % 10 == 0 else ["--write-lr", folder / "lr"]
        shutil.rmtree(folder / "lr", ignore_errors=True)
        yield content, verb(*words)


def bench_reports(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Reports, each compared with a sound one."""
    documents = Documents(3, as_json)
    report = reports.report({"a": 1.0, "b": 0.5})
    values = json.loads(json.dumps(report.as_json()))
    sound, file = folder / "sound.json", folder / "other.json"
    report.write(sound)
    for _ in range(count):
        content = documents.mutant(values)
        file.write_bytes(content)
        yield content, verb("compare", sound, file)


def ledgers(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Ledgers of ``upscale``: an image is done, or done again."""
    documents = Documents(4, as_json)
    for name in "abc":
        photo(folder / "in" / f"{name}.png", side=16, at=ord(name))
    words = ["upscale", str(folder / "in"), "-o", str(folder / "out"), "--model", "bicubic"]
    assert main(words) == 0
    wanted = {file: file.read_bytes() for file in (folder / "out").glob("*.png")}
    (ledger,) = folder.rglob("*.jsonl")
    whole = ledger.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    for number in range(count):
        content = b"\n".join(documents.mutant(row) for row in rows)
        ledger.write_bytes(content)

        def call(gone: Path = list(wanted)[number % 3]) -> int:
            gone.unlink()
            status = main([*words, "--skip-existing", "--device", "cpu"])
            assert {file: file.read_bytes() for file in (folder / "out").glob("*.png")} == wanted
            return status

        yield content, call


def manifests(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Settings and ledgers of ``prepare``, of which nothing outside its folder is deleted."""
    from srkit_prepare.run import MANIFEST, SETTINGS

    documents = Documents(5, as_json)
    photo(folder / "in" / "a.png", side=200)
    out = folder / "out"
    words = ["prepare", str(folder / "in"), str(out), "--device", "cpu", "--workers", "1"]
    words += ["--width", "64"]
    assert main(words) == 0
    begun = json.loads((out / SETTINGS).read_text())
    (ledger,) = (
        (out / MANIFEST).rglob("*.jsonl") if (out / MANIFEST).is_dir() else out.rglob("*.jsonl")
    )
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    text = (out / SETTINGS).read_bytes()
    other = photo(folder / "precious.png")
    for number in range(count):
        settings = number % 2 == 0
        content = documents.mutant(begun) if settings else documents.mutant(rows[0])
        (out / SETTINGS).write_bytes(content if settings else text)
        ledger.write_bytes(ledger.read_bytes() if settings else content)

        def call() -> int:
            status = main(words)
            assert other.is_file()
            return status

        yield content, call


def checkpoints(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Models: bytes, headers and recipes changed; ``info`` loads each."""
    documents, recipe = Documents(6, as_json), tiny(steps=1)
    file, draw = folder / "x.safetensors", random.Random(6)
    weights = recipe.build("generator").state_dict()
    checkpoint.write(file, checkpoint.prefixed("generator", weights), recipe, 1)
    whole = file.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    about = json.loads(header["__metadata__"]["srkit"])
    toml = Documents(7, tomli_w.dumps)
    values = _without_none(recipe.model_dump(mode="json"))
    for _ in range(count):
        kind = draw.randrange(4)
        if kind == 0:
            content = documents.mutant({**header, "data": 1}) if draw.random() < 0.2 else b""
            content = with_header(content or documents.mutant(header), data)
        elif kind == 1:
            content = torn(whole, draw)
        else:
            own = {**about}
            if kind == 2:
                own["recipe"] = toml.mutant(values).decode(errors="replace")
            inner = documents.mutant(about) if kind == 3 else json.dumps(own).encode()
            meta = {"srkit": inner.decode(errors="replace")}
            content = with_header(json.dumps({**header, "__metadata__": meta}).encode(), data)
        file.write_bytes(content)
        yield content, verb("info", file)


def with_header(header: bytes, data: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def torn(content: bytes, draw: random.Random) -> bytes:
    at = draw.choice([draw.randrange(16), draw.randrange(len(content))])
    return draw.choice(
        [
            content[:at],
            content[:at] + draw.randbytes(4) + content[at + 4 :],
            struct.pack("<Q", draw.choice([0, 1, 2**31, 2**63, 2**64 - 1])) + content[8:],
            content + bytes(100),
            content[:at] + content[at + 8 :],
        ]
    )


def resumed(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """What ``train --resume`` reads of a run: its recipe, log and checkpoint."""
    for number in range(8):
        photo(folder / "photos" / f"{number}.png", at=10 * number)
    recipe, run, draw = folder / "r.toml", folder / "run", random.Random(8)
    recipe.write_text(tiny(steps=2).to_toml())
    words = ["train", recipe, "--data", folder / "photos", "--out", run, "--device", "cpu"]
    assert main([str(word) for word in [*words, "--checkpoint-every", 1]]) == 0
    (run / checkpoint.MODEL).unlink()
    shutil.copytree(run, folder / "whole")
    newest = checkpoint.checkpoints(run)[-1].name
    documents, toml = Documents(8, as_json), Documents(9, tomli_w.dumps)
    lines = (run / run_folder.LOG).read_text().splitlines()
    for _ in range(count):
        shutil.rmtree(run)
        shutil.copytree(folder / "whole", run)
        kind = draw.randrange(3)
        name = (run_folder.LOG, run_folder.RECIPE, newest)[kind]
        if kind == 0:
            content = b"\n".join(documents.mutant(json.loads(line)) for line in lines)
        elif kind == 1:
            content = toml.mutant(_without_none(tiny(steps=2).model_dump(mode="json")))
        else:
            content = torn((run / name).read_bytes(), draw)
        (run / name).write_bytes(content)
        yield content, lambda: limited(folder, *words, "--resume")


def cards(folder: Path, count: int) -> Iterator[tuple[bytes, Callable[[], int]]]:
    """Model cards of the Hub, of which the licence is read."""
    documents, file = Documents(10, as_json), folder / "README.md"
    values = {"license": "mit", "license_name": ["a"], "tags": ["x"], "model-index": [{"a": {}}]}
    for _ in range(count):
        content = b"---\n" + documents.mutant(values) + b"\n---\nText"
        file.write_bytes(content)
        yield content, library(lambda: hub._licence(file))


KINDS: dict[str, Kind] = {
    "recipes": recipes,
    "protocols": protocols,
    "reports": bench_reports,
    "ledgers": ledgers,
    "manifests": manifests,
    "checkpoints": checkpoints,
    "cards": cards,
}


@pytest.mark.drill
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_documents_are_used_or_refused(
    kind: str, drilled: Callable[[Kind, int], int]
) -> None:
    used = drilled(KINDS[kind], COUNT)
    print(f"{used} of {COUNT} {kind} used")


@pytest.mark.drill
def test_runs_with_mutated_files_are_resumed_or_refused(
    drilled: Callable[[Kind, int], int],
) -> None:
    drilled(resumed, 100)


@pytest.mark.parametrize("kind", ["protocols", "reports", "ledgers", "checkpoints", "cards"])
def test_some_mutated_documents_are_used_or_refused(
    kind: str, drilled: Callable[[Kind, int], int]
) -> None:
    drilled(KINDS[kind], SMALL)
