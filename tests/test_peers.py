"""benchmarks/peers: what needs no peer's environment."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import registry
from srkit.evaluation.methods import from_results, write_lr
from srkit.evaluation.report import Distances, Quality, Report, Row

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"
MODULES = ("folder", "published", "run")
# A peer: nearest neighbour, slowly.
NEAREST = f"""
import sys, time
sys.path.insert(0, {str(PEERS)!r})
import folder
def enlarge(lr):
    time.sleep(0.02)
    return lr.repeat(4, 0).repeat(4, 1)
folder.main("x", lambda arguments: folder.Program("nearest", enlarge, "0", "CC0", ["numpy"], 1))
"""


@pytest.fixture(autouse=True)
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules, whose plain names are gone again afterwards."""
    monkeypatch.syspath_prepend(PEERS)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:
        del sys.modules[name]


def small(count: int, height: int = 4, width: int = 6) -> np.ndarray:
    shape = (count, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def program(folder: ModuleType, enlarge: object = None, name: str = "nearest") -> object:
    nearest = enlarge or (lambda lr: lr.repeat(4, 0).repeat(4, 1))
    return folder.Program(name, nearest, "0", "CC0", ["numpy"], 1)


# --- a folder -----------------------------------------------------------------------------------


def test_a_folder_comes_back_as_a_column(peers: SimpleNamespace, tmp_path: Path) -> None:
    given = small(3)
    write_lr(enumerate(given), tmp_path / "lr")
    peers.folder.enlarge(program(peers.folder), tmp_path / "lr", tmp_path / "sr")
    lr = torch.from_numpy(given).permute(0, 3, 1, 2).float() / 255
    nearest = registry.build_scaled("generators", "nearest", 4, {})
    assert torch.equal(from_results("theirs", tmp_path / "sr", 4)(lr), nearest(lr))


def test_what_is_there_is_left_alone(peers: SimpleNamespace, tmp_path: Path) -> None:
    write_lr(enumerate(small(3)), tmp_path / "lr")
    made: list[int] = []

    def enlarge(lr: np.ndarray) -> np.ndarray:
        made.append(1)
        return lr.repeat(4, 0).repeat(4, 1)

    one = program(peers.folder, enlarge)
    files = peers.folder.enlarge(one, tmp_path / "lr", tmp_path / "sr")
    (tmp_path / "sr" / files[1].name).unlink()
    peers.folder.enlarge(one, tmp_path / "lr", tmp_path / "sr")
    assert len(made) == 4
    assert len(list((tmp_path / "sr").glob("*.png"))) == 3
    assert not list((tmp_path / "sr").glob("*.part"))


def test_two_programs_dont_share_a_folder(peers: SimpleNamespace, tmp_path: Path) -> None:
    write_lr(enumerate(small(1)), tmp_path / "lr")
    peers.folder.enlarge(program(peers.folder), tmp_path / "lr", tmp_path / "sr")
    with pytest.raises(SystemExit, match=r"another program or version.*empty it first"):
        peers.folder.enlarge(program(peers.folder, name="x"), tmp_path / "lr", tmp_path / "sr")


def test_wrong_sizes_and_empty_folders_are_told(peers: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    with pytest.raises(SystemExit, match=r"holds no \.png"):
        peers.folder.enlarge(program(peers.folder), tmp_path / "lr", tmp_path / "sr")
    write_lr(enumerate(small(1)), tmp_path / "lr")
    with pytest.raises(SystemExit, match=r"became uint8 \(4, 6, 3\), not \(16, 24, 3\)"):
        peers.folder.enlarge(program(peers.folder, lambda lr: lr), tmp_path / "lr", tmp_path / "sr")
    assert not list((tmp_path / "sr").glob("*.png"))


def test_eight_bits_clamps_and_rounds(peers: SimpleNamespace) -> None:
    values = np.array([-0.5, 0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1, 2])
    assert peers.folder.eight_bits(values).tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_seconds_are_of_the_commonest_size(
    peers: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lr(enumerate([*small(3, 4, 6), *small(2, 8, 8)]), tmp_path)
    clock = SimpleNamespace(now=0.0)
    taken = iter([9.0] * peers.folder.WARM_UP + [1.0, 5.0, 2.0])

    def enlarge(lr: np.ndarray) -> np.ndarray:
        clock.now += next(taken)
        return lr

    monkeypatch.setattr(peers.folder.time, "perf_counter", lambda: clock.now)
    found = peers.folder.seconds(program(peers.folder, enlarge), sorted(tmp_path.iterdir()))
    wanted = {"seconds": 2.0, "fastest": 1.0, "threads": 1, "images": 3, "size": "6x4"}
    assert found == wanted


def test_a_killed_program_goes_on(tmp_path: Path) -> None:
    given = small(40)
    write_lr(enumerate(given), tmp_path / "lr")
    script = tmp_path / "peer.py"
    script.write_text(NEAREST, encoding="utf-8")
    sr = tmp_path / "sr"
    command = [sys.executable, script, tmp_path / "lr", sr, "--timed", "2"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while len(list(sr.glob("*.png"))) < 3 and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in sr.glob("*.png")}
    assert 3 <= len(before) < 40
    for file in before:
        with Image.open(file) as image:
            image.load()  # whole
    subprocess.run(command, check=True, capture_output=True)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    lr = torch.from_numpy(given).permute(0, 3, 1, 2).float() / 255
    wanted = lr.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(from_results("theirs", sr, 4)(lr), wanted)
    timed = (sr / "seconds.json").read_text(encoding="utf-8")
    assert json.loads(timed)["seconds"] >= 0.02
    subprocess.run(command, check=True, capture_output=True)
    assert (sr / "seconds.json").read_text(encoding="utf-8") == timed  # nor is it timed again


# --- environments -------------------------------------------------------------------------------


def test_everything_is_pinned_and_described(peers: SimpleNamespace) -> None:
    readme = (PEERS / "README.md").read_text(encoding="utf-8")
    for peer in peers.run.PEERS:
        assert f"`{peer.name}`" in readme
        assert (PEERS / f"{peer.script}.py").is_file()
        lines = (PEERS / f"{peer.script}.txt").read_text(encoding="utf-8").splitlines()
        wanted = [line for line in lines if not line.startswith("#")]
        assert wanted
        assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in wanted), wanted
        if peer.npm:
            package, lock = (
                json.loads((PEERS / peer.script / name).read_text(encoding="utf-8"))
                for name in peers.run.NPM_FILES
            )
            its = lock["packages"]
            assert its.pop("")["dependencies"] == package["dependencies"]
            assert all(one["integrity"].startswith("sha512-") for one in its.values())
            for name, version in package["dependencies"].items():
                assert its[f"node_modules/{name}"]["version"] == version


def test_no_script_hides_a_module_that_srkit_imports() -> None:
    # A script's folder comes first on sys.path, before the plugins.
    plugins = {path.name for path in (PEERS.parents[1] / "plugins").iterdir()}
    assert not {file.stem for file in PEERS.glob("*.py")} & (plugins | sys.stdlib_module_names)


def test_an_environment_is_made_once(
    peers: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = peers.run, []
    here = tmp_path / "here"
    (here / "p").mkdir(parents=True)
    for name in ("p.txt", "p/package.json", "p/package-lock.json"):
        (here / name).write_text("1", encoding="utf-8")

    def fake(command: list[object], **variables: str) -> None:
        said.append([str(part) for part in command])
        if "--clear" in command:
            shutil.rmtree(tmp_path / "envs", ignore_errors=True)
            (tmp_path / "envs" / "p").mkdir(parents=True)

    monkeypatch.setattr(run, "HERE", here)
    monkeypatch.setattr(run, "run", fake)
    peer = run.Peer("p", "p", npm=True)
    python = run.environment(peer, tmp_path / "envs")
    assert python == tmp_path / "envs" / "p" / "bin" / "python"
    assert [command[-1] for command in said] == [
        str(tmp_path / "envs" / "p"),
        str(here / "p.txt"),
        str(tmp_path / "envs" / "p" / "p"),
    ]
    run.environment(peer, tmp_path / "envs")
    assert len(said) == 3
    (here / "p" / "package-lock.json").write_text("2", encoding="utf-8")
    run.environment(peer, tmp_path / "envs")
    assert len(said) == 6


def test_a_peer_that_fails_is_left_out_and_named(
    peers: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lr(enumerate(small(2)), tmp_path / "lr")
    (tmp_path / "good.py").write_text(NEAREST, encoding="utf-8")
    (tmp_path / "bad.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.setattr(peers.run, "HERE", tmp_path)
    monkeypatch.setattr(peers.run, "environment", lambda peer, envs: Path(sys.executable))
    given = argparse.Namespace(envs=tmp_path, work=tmp_path, threads=1)
    both = [peers.run.Peer("bad", "bad"), peers.run.Peer("good", "good")]
    failed = peers.run.enlarged(both, given)
    assert list(failed) == ["bad"]
    assert failed["bad"].endswith("ended with 3")
    assert len(list((tmp_path / "sr" / "good").glob("*.png"))) == 2


# --- the table ----------------------------------------------------------------------------------


def report() -> Report:
    stamp = {
        "name": "paper",
        "framing": "squash",
        "size": 64,
        "degradation": "faces-x4",
        "scores": "8-bit",
        "fingerprint": "0123456789abcdef",
    }
    about = {"unit": "", "higher_is_better": True, "title": ""}
    psnr = {"nearest": [20, 21], "bicubic": [21, 22], "faces": [24, 26], "theirs": [20.5, 21.5]}
    scores = {
        name: {"psnr": [float(one) for one in its], "ssim": [0.5, 0.75]}
        for name, its in psnr.items()
    }
    quality = Quality(stamp, ["a.png", "b.png"], {"psnr": about, "ssim": about}, scores)
    faces = {"distance": "L2", "base": "first", "embedder": "facenet", "alignment": "once"}
    distances = {"LR": 1.2, "bicubic": 1.0, "faces": 0.8, "theirs": 1.1, "HR": 0.4}
    rows = [Row("p", "1", "2", distances), Row("q", "1", "2", distances)]
    whole = Distances(protocol={**stamp, **faces}, rows=rows, people=2)
    return Report(
        {}, quality, everybody=whole, warnings=["mind this"], run={"machine": {"cores": 2}}
    )


def test_the_table_says_what_was_measured(peers: SimpleNamespace, tmp_path: Path) -> None:
    report().write(tmp_path / "bench.json")
    speed = {"seconds": 0.0123, "threads": 2, "size": "16x16", "licence": "MIT"}
    (tmp_path / "seconds.json").write_text(json.dumps(speed), encoding="utf-8")
    found = peers.published.collected(
        tmp_path / "bench.json", {"theirs": tmp_path}, {"other": "pip ended with 1"}
    )
    theirs = found["methods"]["theirs"]
    assert theirs["psnr"]["mean"] == 21
    assert theirs["psnr"]["gain"] == -0.5
    assert theirs["speed"] == speed
    assert theirs["identity"]["closed"]["value"] == pytest.approx(0.125)
    assert list(found["methods"]) == ["nearest", "bicubic", "faces", "theirs", "LR", "HR"]
    assert "scores" not in found
    text = peers.published.markdown(found)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {len(peers.published.HEADINGS)}
    row = next(line for line in text.splitlines() if line.startswith("| theirs"))
    for cell in ("21.00", "-0.50 [-0.50, -0.50]", "0.6250", "1.100", "12% |", "12.3", "MIT"):
        assert cell in row
    assert "L2 to the base (first), less is better, by facenet; faces aligned once" in text
    for said in ("2 images", "0123456789abcdef", "2 probes of 2 people", "threads: theirs 2"):
        assert said in text
    assert "Left out: other, pip ended with 1." in text
    assert "Warning: mind this" in text


def test_without_faces_or_times_cells_are_empty(peers: SimpleNamespace, tmp_path: Path) -> None:
    whole = report()
    Report({}, whole.quality).write(tmp_path / "bench.json")
    found = peers.published.collected(tmp_path / "bench.json", {}, {})
    text = peers.published.markdown(found)
    assert "| theirs | 21.00 | -0.50 [-0.50, -0.50] | 0.6250 | – | – | – | – |" in text
    assert "Identity" not in text
    Report({}).write(tmp_path / "bench.json")
    with pytest.raises(ValueError, match="has no quality"):
        peers.published.collected(tmp_path / "bench.json", {}, {})
