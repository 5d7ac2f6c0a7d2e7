"""Batches: what goes where, what is left out, whose share it is, and what survives a kill."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from forks import Fork
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from srkit import InputError, Upscaler, load
from srkit.batch.jobs import FOLDER, Job, Shard, plan
from srkit.batch.work import Work
from srkit.cli import main
from srkit.errors import OptionError
from srkit.imaging import codec, decode
from srkit.imaging.colour import to_srgb
from srkit.inference.device import device_named
from srkit.inference.model import Model

Cli = Callable[..., tuple[int, str, str]]
Crops = Callable[[Path, int, int], list[Path]]
BICUBIC = ("--model", "bicubic", "--device", "cpu")


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            monkeypatch.delenv(name)


def names(folder: Path) -> list[str]:
    """The images below a folder, hidden ones aside."""
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(folder).parts)
    )


# --- an image's way -----------------------------------------------------------------------------


def test_an_image_goes_the_way_that_is_written_down(
    tmp_path: Path, crops: Crops, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[1].joinpath("CONTRIBUTING.md").read_text(encoding="utf-8")
    (way,) = re.findall(r"\*An image to its result:\*(.*?)\n- ", page, re.DOTALL)
    modules = [name.removeprefix("srkit.") for name in re.findall(r"`([\w.]+)`", way)]
    (photo,) = crops(tmp_path, 1, 8)
    visited: set[str] = set()
    deepest = opened = 0
    first = decode._opened

    def open_image(stream: Any) -> Any:
        nonlocal opened
        opened += 1
        return first(stream)

    def note(frame: Any, event: str, _: Any) -> None:
        nonlocal deepest
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("srkit"):
            visited.add(name.removeprefix("srkit."))
            stack = {name}
            while frame := frame.f_back:
                stack.add(frame.f_globals.get("__name__", ""))
            deepest = max(deepest, sum(each.startswith("srkit") for each in stack))

    monkeypatch.setattr(decode, "_opened", open_image)
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        status, _, _ = cli("upscale", photo, "--out", tmp_path / "large.png", "--device", "cpu")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert status == 0
    assert set(modules) <= visited
    assert len(modules) <= 12
    assert deepest <= 12
    assert opened == 1


# --- what goes where ----------------------------------------------------------------------------


def test_a_pattern_keeps_places_below_its_first_wildcard(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "in" / "a" / "b", 2, 8)
    crops(tmp_path / "in" / "c", 1, 8)
    (tmp_path / "in" / "c" / "notes.txt").write_text("no image")
    pattern = str(tmp_path / "in" / "**" / "*")
    jobs = plan([pattern], tmp_path / "out", "x4")
    found = [str(job.output.relative_to(tmp_path)) for job in jobs]
    assert found == ["out/a/b/000001.png", "out/a/b/000002.png", "out/c/000001.png"]
    beside = plan([pattern], None, "x4")
    assert beside[0].output == tmp_path / "in" / "a" / "b" / "000001-x4.png"


def test_a_pattern_that_finds_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\*\.jpg: no image fits this pattern"):
        plan([str(tmp_path / "*.jpg")], None, "x4")


def test_results_take_the_format_that_is_asked_for_or_one_that_can_be_written(
    tmp_path: Path, crops: Crops
) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    (job,) = plan([str(tmp_path / "in")], tmp_path / "out", "x4", ".jpg")
    assert job.output.name == "000001.jpg"
    Image.open(file).save(tmp_path / "still[1].gif")  # brackets are no pattern
    (job,) = plan([str(tmp_path / "still[1].gif")], None, "x4")
    assert job.output.name == "still[1]-x4.png"


def test_another_scale_is_in_the_names_and_the_sizes(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    file = crops(tmp_path, 1, 10)[0]
    status, out, err = cli("upscale", file, *BICUBIC, "--scale", "2.5")
    assert status == 0
    assert out.split() == [str(tmp_path / "000001-x2.5.png")]
    assert "resampled from there to 2.5 by Lanczos" in err
    with Image.open(tmp_path / "000001-x2.5.png") as image:
        assert image.size == (25, 25)


def test_an_empty_input_is_refused(refused: Callable[..., str]) -> None:
    assert "an argument is empty" in refused("upscale", "", *BICUBIC)


def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, crops: Crops, refused: Callable[..., str]
) -> None:
    file = crops(tmp_path, 1, 10)[0]
    out = ("--out", tmp_path / "x.tiff")
    line = refused("upscale", file, *BICUBIC, *out, "--format", "png")
    assert "x.tiff is no .png file: name one, or leave out --format" in line
    line = refused("upscale", file, *out, "--face-model", "faces")
    assert "--face-model needs --faces or --faces-only" in line
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["photo.gif", "photo.jxl"])
def test_a_file_that_cannot_be_written_is_no_folder(
    tmp_path: Path, crops: Crops, refused: Callable[..., str], name: str
) -> None:
    (file,) = crops(tmp_path, 1, 8)
    out = tmp_path / name
    assert f"can't write {out}; a file ends in .avif, .bmp" in refused(
        "upscale", file, "-o", out, *BICUBIC
    )


def test_results_that_would_meet_keep_the_old_suffix(tmp_path: Path, crops: Crops) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    for name in ("000001.jpg", "000001.bmp", "other.jpg"):
        Image.open(file).save(tmp_path / "in" / name)
    jobs = plan([str(tmp_path / "in")], tmp_path / "out", "x4", ".png")
    assert {job.input.name: job.output.name for job in jobs} == {
        "000001.png": "000001.png",
        "000001.jpg": "000001-jpg.png",
        "000001.bmp": "000001-bmp.png",
        "other.jpg": "other.png",
    }


def test_only_results_that_would_meet_get_other_names(tmp_path: Path, crops: Crops) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    for name in ("000001-jpg.png", "a/x.png", "b/x.png", "c/x.png", "c/y.png", "a.jpg", "a.JPG"):
        place = tmp_path / "in" / name
        place.parent.mkdir(exist_ok=True)
        Image.open(file).save(place)
    Image.open(file).save(tmp_path / "in" / "000001.jpg")
    inputs = sorted(map(str, (tmp_path / "in").rglob("*.*")))
    jobs = plan(inputs, tmp_path / "out", "x4", ".png")
    assert {os.path.relpath(job.input, tmp_path / "in"): job.output.name for job in jobs} == {
        "000001-jpg.png": "000001-jpg.png",
        "000001.jpg": "000001-jpg-2.png",
        "000001.png": "000001.png",
        "a.JPG": "a-JPG.png",
        "a.jpg": "a-jpg.png",
        "a/x.png": "x.png",
        "b/x.png": "x-2.png",
        "c/x.png": "x-3.png",
        "c/y.png": "y.png",
    }
    same = plan([inputs[0], str(tmp_path / "in" / "." / Path(inputs[0]).name)], None, "x4")
    assert len(same) == 1
    with pytest.raises(InputError, match=r"\.png is an input"):
        plan(inputs, tmp_path / "in", "x4")


def test_files_that_are_no_images_are_named_and_all_images_taken(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    image = Image.open(file).convert("RGB")
    for name in ("a.jfif", "b.jpe", "c.gif", "d.tga", "e.jp2", "f.ppm"):
        image.save(tmp_path / "in" / name)
    for name in ("clip.mov", "clip2.MOV", "README", ".hidden"):
        (tmp_path / "in" / name).write_text("no image")
    status, _, err = cli("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert status == 0
    assert "left out: 2 .mov, 1 without a suffix (such as " in err
    expected = ["000001.png", "a.jfif", "b.jpe", "c.png", "d.png", "e.png", "f.png"]
    assert names(tmp_path / "out") == expected
    with Image.open(tmp_path / "out" / "a.jfif") as result:
        assert result.format == "JPEG"
    pattern = str(tmp_path / "in" / "*")
    status, out, _ = cli("upscale", pattern, "-o", tmp_path / "out2", "--json", *BICUBIC)
    events = [json.loads(line) for line in out.splitlines()]
    ignored = [Path(e["input"]).name for e in events if e["event"] == "ignored"]
    assert sorted(ignored) == ["README", "clip.mov", "clip2.MOV"]


LONGER = (".tif", ".jpg", ".webp", ".gif")
PIPED = [pytest.param(suffix, marks=pytest.mark.long) for suffix in LONGER]


@pytest.mark.parametrize("suffix", [".png", *PIPED])
def test_an_image_goes_through_a_pipe(
    tmp_path: Path, crops: Crops, cli: Cli, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    place = tmp_path / f"a{suffix}"
    Image.open(file).save(place)
    words = [sys.executable, "-m", "srkit", "upscale", "-", *BICUBIC]
    content = place.read_bytes()
    piped = subprocess.run(words, input=content, capture_output=True, check=True).stdout
    assert cli("upscale", place, "-o", tmp_path / "out", *BICUBIC)[0] == 0
    (result,) = (tmp_path / "out").glob("a.*")
    assert piped == result.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert cli("upscale", "-", "-o", tmp_path / "b.png", *BICUBIC)[0] == 0
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (32, 32)


def test_a_pipe_is_for_one_image_that_can_be_read(
    tmp_path: Path, crops: Crops, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = crops(tmp_path / "in", 2, 8)
    for words in ((*files, "-o", "-"), ("-", files[0]), (tmp_path / "in", "-o", "-")):
        status, out, err = cli("upscale", *words, *BICUBIC)
        assert (status, out, err) == (2, "", "srkit: '-' is for one image\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no image")))
    status, out, err = cli("upscale", "-", *BICUBIC)
    assert (status, out) == (1, "")
    assert err.startswith("srkit: -: not a readable image")
    with Image.open(files[0]) as image:
        image.save(tmp_path / "a.gif")
    content = (tmp_path / "a.gif").read_bytes()
    for words in (("--json", "-o", tmp_path / "b.bmp"), ("--dry-run", "-o", "-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        status, out, err = cli("upscale", "-", *words, *BICUBIC)
        assert status == 0
        assert "srkit-" not in out + err
    assert err == "- -> -  (8x8 to 32x32)\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, _, err = cli("upscale", files[0], "-o", "-", *BICUBIC)
    assert err == "srkit: an image isn't for a terminal; name a file by --out\n"


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_pipe_that_is_closed_is_one_line(
    tmp_path: Path, crops: Crops, cli: Cli, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    monkeypatch.setattr(sys, stream, None)
    status, _, err = cli("upscale", "-" if stream == "stdin" else file, "-o", "-", *BICUBIC)
    assert (status, err) == (2, "srkit: '-' is standard input or output, and that is closed\n")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_named_pipe_is_written_to(tmp_path: Path, crops: Crops, cli: Cli, suffix: str) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    place = tmp_path / f"a{suffix}"
    os.mkfifo(place)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(place.read_bytes()), daemon=True)
    reader.start()
    assert cli("upscale", file, "-o", place, *BICUBIC)[0] == 0
    reader.join(30)
    assert place.is_fifo()
    assert cli("upscale", file, "-o", tmp_path / f"b{suffix}", *BICUBIC)[0] == 0
    assert received == [(tmp_path / f"b{suffix}").read_bytes()]


def test_a_link_to_a_folder_above_gives_no_image_twice(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "in", 2, 8)
    (tmp_path / "in" / "up").symlink_to(tmp_path / "in")
    jobs = plan([str(tmp_path / "in" / "**" / "*.png")], None, "x4")
    assert [job.input for job in jobs] == sorted((tmp_path / "in").glob("*.png"))


def test_a_link_to_itself_costs_itself_alone(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    crops(tmp_path / "in", 1, 8)
    (tmp_path / "in" / "self.png").symlink_to("self.png")
    status, _, err = cli("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert status == 1
    assert "self.png: can't be read" in err
    assert names(tmp_path / "out") == ["000001.png"]


def test_inputs_within_the_folder_of_results_are_done(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "out" / "in", 2, 8)
    jobs = plan([str(tmp_path / "out" / "in")], tmp_path / "out", "x4")
    assert [job.output.name for job in jobs] == ["000001.png", "000002.png"]
    with pytest.raises(InputError, match="out: no images in it but those in"):
        plan([str(tmp_path / "out")], tmp_path / "out" / "in", "x4")


@pytest.mark.parametrize("suffix", [".jpg", ".gif"])
def test_the_modification_time_can_be_kept(
    tmp_path: Path, crops: Crops, cli: Cli, suffix: str
) -> None:
    (file,) = crops(tmp_path / "made", 1, 8)
    old = tmp_path / f"old{suffix}"
    Image.open(file).save(old)
    os.utime(old, ns=(1, 10**18 + 123_000))
    words = ("upscale", old, "-o", tmp_path / "out", "--skip-existing", *BICUBIC)
    assert cli(*words, "--keep-time")[0] == 0
    (result,) = (tmp_path / "out").glob("old.*")
    assert result.stat().st_mtime_ns == 10**18 + 123_000
    assert "done before" in cli(*words)[1]
    assert cli("upscale", old, "-o", tmp_path / "now.png", *BICUBIC)[0] == 0
    assert (tmp_path / "now.png").stat().st_mtime > 10**9 + 1


# --- shards -------------------------------------------------------------------------------------


def test_shards_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Shard.of(None) == Shard(0, 1)
    monkeypatch.setenv("RANK", "2")
    assert Shard.of(None) == Shard(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Shard.of(None) == Shard(2, 4)
    assert Shard.of("2/5") == Shard(1, 5)
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(InputError, match="RANK is 'one' in the environment, no number; unset it"):
        Shard.of(None)


@pytest.mark.parametrize(
    ("rank", "devices", "expected"),
    [(None, 4, "cuda"), ("1", 4, "cuda:1"), ("5", 4, "cuda:1"), ("1", 0, "cpu")],
)
def test_each_process_of_torchrun_has_a_device(
    rank: str | None, devices: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert str(device_named("auto")) == expected
    assert str(device_named("cpu")) == "cpu"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_are_disjoint_and_together_all(count: int) -> None:
    jobs = [Job(Path(f"{n}.png"), Path(f"{n}-x4.png")) for n in range(23)]
    parts = [Shard(i, count).take(jobs) for i in range(count)]
    assert sorted(job.input for part in parts for job in part) == sorted(job.input for job in jobs)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", ""])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(OptionError, match="2/5"):
        Shard.of(text)


def test_processes_share_a_folder_and_one_can_finish_for_another(
    tmp_path: Path, crops: Crops, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops(tmp_path / "in", 7, 8)
    out = tmp_path / "out"
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "0")
    for rank, count in ((0, 3), (2, 2)):  # the second of them never started
        monkeypatch.setenv("RANK", str(rank))
        status, written, err = cli("upscale", tmp_path / "in", "-o", out, *BICUBIC)
        assert status == 0
        assert f"shard {rank + 1}/3 of 7 images" in err
        assert len(written.split()) == count
    assert len(names(out)) == 5
    monkeypatch.delenv("WORLD_SIZE")
    status, written, _ = cli("upscale", tmp_path / "in", "-o", out, *BICUBIC, "--skip-existing")
    assert status == 0
    assert len([line for line in written.splitlines() if "(done before)" not in line]) == 2
    assert len(names(out)) == 7


# --- what is left out ---------------------------------------------------------------------------


def redone(cli: Cli, *arguments: object) -> list[str]:
    """Run with --skip-existing; return the names of what was done."""
    status, out, err = cli("upscale", *arguments, "--skip-existing", "--json")
    assert status == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    return sorted(Path(e["input"]).name for e in events if e["event"] == "done")


def test_only_what_differs_is_done_again(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    files = crops(tmp_path / "in", 4, 8)
    command = (tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    every = [file.name for file in files]
    assert redone(cli, *command) == every
    assert redone(cli, *command) == []
    files[1].write_bytes(files[2].read_bytes())  # another content
    os.utime(files[3])  # only another date
    assert redone(cli, *command) == [files[1].name]
    (tmp_path / "out" / files[0].name).unlink()
    assert redone(cli, *command) == [files[0].name]
    (tmp_path / "out" / files[2].name).write_bytes(b"edited by somebody")
    assert redone(cli, *command) == [files[2].name]
    assert redone(cli, *command, "--consistent") == every  # other settings
    assert redone(cli, tmp_path / "in", "-o", tmp_path / "out", "--model", "lanczos") == every
    assert redone(cli, *command) == every


def test_half_precision_gives_another_result() -> None:
    model = load("bicubic", device="cpu")
    before = Work(model).key()
    model.limits.precision = "bf16"
    assert Work(model).key() != before


def test_beside_an_image_nothing_is_kept_unless_asked(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    file = crops(tmp_path, 1, 8)[0]
    assert cli("upscale", file, *BICUBIC)[0] == 0
    assert not (tmp_path / FOLDER).exists()
    assert redone(cli, file, *BICUBIC) == [file.name]
    assert redone(cli, file, *BICUBIC) == []


def test_a_pattern_that_finds_its_own_results_goes_on(
    tmp_path: Path, crops: Crops, cli: Cli, refused: Callable[..., str]
) -> None:
    every = [file.name for file in crops(tmp_path, 2, 8)]
    assert redone(cli, tmp_path / "*.png", *BICUBIC) == every
    assert redone(cli, tmp_path / "*.png", *BICUBIC) == []
    (tmp_path / "000001-x4.png").write_bytes((tmp_path / "000002.png").read_bytes())
    # Now it is somebody's own image.
    assert "000001-x4.png is an input" in refused("upscale", tmp_path / "*.png", *BICUBIC)


def test_a_ledger_that_is_a_link_is_refused(
    tmp_path: Path, crops: Crops, refused: Callable[..., str]
) -> None:
    crops(tmp_path / "in", 1, 8)
    (tmp_path / "out" / FOLDER).mkdir(parents=True)
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "out" / FOLDER / "1-of-1.jsonl").symlink_to(tmp_path / "notes")
    line = refused("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert "1-of-1.jsonl is a link" in line
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_damaged_ledger_costs_one_image(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    crops(tmp_path / "in", 3, 8)
    command = (tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    redone(cli, *command)
    (ledger,) = (tmp_path / "out" / FOLDER).glob("*.jsonl")
    first, second, last = ledger.read_text().splitlines()
    hostile = [
        *('"x"', "5", "null", "[" * 100_000, '{"name": 5}', "9" * 5000),
        first.replace('"written": ', '"written": Infinity, "was": '),
        second.replace('"files": [[', '"files": [[0, '),
    ]
    ledger.write_text("\n".join([first, second, *hostile, last[:-20]]))
    assert len(redone(cli, *command)) == 1
    assert redone(cli, *command) == []


def test_results_of_tiles_that_are_exact_do_not_depend_on_their_size(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    crops(tmp_path / "in", 1, 8)
    command = (tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert len(redone(cli, *command, "--tile", "64")) == 1
    assert redone(cli, *command, "--tile", "32") == []


# --- faces --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut at 128x128: a face of some 28 pixels."""
    file = tmp_path_factory.mktemp("portrait") / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).resize((128, 128)).save(file)
    return file


def test_faces_are_restored_and_the_rest_is_interpolated(
    tmp_path: Path, portrait: Path, cli: Cli
) -> None:
    plain, restored = tmp_path / "plain.png", tmp_path / "restored.png"
    assert cli("upscale", portrait, "-o", plain, "--model", "lanczos")[0] == 0
    status, _, err = cli("upscale", portrait, "-o", restored, "--faces", "--device", "cpu")
    assert status == 0
    assert "no model of general photographs: all but faces is upscaled by lanczos" in err
    assert "1 of 1 faces restored" in err
    a, b = (np.asarray(Image.open(file)).astype(int) for file in (plain, restored))
    changed = np.abs(a - b).max(axis=2)
    rows, columns = np.nonzero(changed > 1)
    assert 10_000 < len(rows) < 0.2 * changed.size
    # Her face is in the upper middle; the flag and the shuttle are not touched.
    assert 120 < columns.min() < columns.max() < 400
    assert rows.max() < 260
    hr = skimage.data.astronaut().astype(int)
    face = np.s_[80:180, 170:280]
    assert np.abs(b[face] - hr[face]).mean() < np.abs(a[face] - hr[face]).mean()


def test_only_faces_are_written_where_that_is_asked_and_no_number_leads_to_another_images_file(
    tmp_path: Path, portrait: Path, crops: Crops, cli: Cli
) -> None:
    crops(tmp_path / "in", 1, 40)  # of a cat
    other = tmp_path / "in" / "two-1.png"
    other.write_bytes(portrait.read_bytes())
    two = Image.new("L", (256, 128))
    for left in (0, 128):
        two.paste(Image.open(portrait).convert("L"), (left, 0))
    two.save(tmp_path / "in" / "two.png")
    command = ("upscale", tmp_path / "in", "-o", tmp_path / "out", "--faces-only")
    status, _, err = cli(*command, "--device", "cpu")
    assert status == 1
    assert "000001.png: no face found in it" in err
    assert "1 image of 3 failed" in err
    assert names(tmp_path / "out") == ["two-1.png", "two-2.png", "two-3.png"]
    for name, mode in (("two-1", "RGB"), ("two-2", "L"), ("two-3", "L")):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert image.mode == mode
            assert image.width == image.height
            assert 100 < image.width < 260
    status, out, _ = cli(*command, "--device", "cpu", "--skip-existing")
    assert out.count("(done before)") == 2
    quick = ("--faces-only", "--face-model", "bicubic")
    _, _, err = cli("upscale", tmp_path / "in" / "two.png", "-o", "-", *quick)
    assert "several faces are several images; name a folder by --out" in err
    renamed = other.rename(other.with_name("two-x4-1.png"))
    status, out, _ = cli("upscale", tmp_path / "in" / "two.png", renamed, *quick)
    assert [Path(line).name for line in out.split()] == [
        *("two-x4-2.png", "two-x4-3.png", "two-x4-1-x4.png")
    ]
    assert renamed.read_bytes() == portrait.read_bytes()


@pytest.mark.parametrize(
    "suffix",
    [".png", ".bmp"]
    + [pytest.param(each, marks=pytest.mark.long) for each in (".jpg", ".tif", ".webp", ".avif")],
)
def test_faces_look_as_they_do_in_the_whole_image(
    tmp_path: Path, portrait: Path, cli: Cli, suffix: str
) -> None:
    """Of an image of linear light: its gamma is a profile then, or its pixels are sRGB."""
    file, gamma = tmp_path / "linear.png", PngInfo()
    gamma.add(b"gAMA", struct.pack(">I", 100_000))
    linear = (np.asarray(Image.open(portrait)) / 255) ** 2.2 * 255
    Image.fromarray(linear.round().astype(np.uint8)).save(file, pnginfo=gamma)
    profiles, brightness = [], []
    for words in (("--faces-only",), ("--faces",)):
        out = tmp_path / f"{words[0]}{suffix}"
        assert cli("upscale", file, "-o", out, "--face-model", "bicubic", *words)[0] == 0
        decoded = codec.read(out)
        profiles.append(decoded.info.get("icc_profile"))
        shown = to_srgb(decoded.rgb, profiles[-1]) if profiles[-1] else decoded.rgb
        brightness.append(np.asarray(shown).mean())
    assert profiles[0] == profiles[1]
    assert min(brightness) > linear.mean() + 25


def test_faces_are_restored_at_another_scale_too(tmp_path: Path, portrait: Path, cli: Cli) -> None:
    out = tmp_path / "out.png"
    status, _, err = cli("upscale", portrait, "-o", out, "--faces", "--scale", "3")
    assert status == 0
    assert "1 of 1 faces restored" in err
    with Image.open(out) as image:
        assert image.size == (384, 384)


def test_small_faces_can_be_left_out(tmp_path: Path, portrait: Path, cli: Cli) -> None:
    out = tmp_path / "out.png"
    status, _, err = cli("upscale", portrait, "-o", out, "--faces", "--min-face-size", "60")
    assert status == 0
    assert "0 of 0 faces restored" in err


# --- failures -----------------------------------------------------------------------------------


def test_broken_images_leave_the_rest_alone(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    files = crops(tmp_path / "in", 5, 8)
    files[0].write_bytes(b"")
    files[3].write_bytes(files[3].read_bytes()[:60])
    status, out, err = cli("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert status == 1
    assert len(out.splitlines()) == 3
    lines = [line for line in err.splitlines() if line.startswith("srkit: ")]
    assert [files[n].name in line for n, line in zip((0, 3), lines[:2], strict=True)] == [True] * 2
    assert lines[2] == "srkit: 2 images of 5 failed"
    assert names(tmp_path / "out") == [files[n].name for n in (1, 2, 4)]
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_model_of_small_images_says_so_of_large_ones_once(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    crops(tmp_path / "small", 1, 16)
    crops(tmp_path / "large", 2, 160)
    assert "32x32" not in cli("upscale", tmp_path / "small", "-o", tmp_path / "a")[2]
    _, _, err = cli("upscale", tmp_path / "large", "-o", tmp_path / "b", "--device", "cpu")
    assert err.count("learned from 32x32 images") == 1
    assert "(such as 000001.png)" in err


def test_json_says_everything_once(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    files = crops(tmp_path / "in", 3, 8)
    files[1].write_bytes(b"broken")
    status, out, _ = cli(
        "upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC, "--json", "--report"
    )
    assert status == 1
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["event"] for e in events] == ["start", "done", "failed", "done", "end"]
    assert events[0]["model"] == "bicubic"
    chosen = [events[0][key] for key in ("engine", "device", "precision", "why")]
    assert chosen == ["torch", "cpu", "fp32", "the model has no ONNX graph"]
    assert events[1]["files"] == [str(tmp_path / "out" / files[0].name)]
    assert 0 < events[1]["residual"] < 20
    assert "not a readable image" in events[2]["error"]
    assert events[-1] == {"event": "end", "done": 2, "skipped": 0, "failed": 1}
    _, _, err = cli("upscale", files[0], "-o", tmp_path / "one.png", *BICUBIC, "--report")
    assert "engine torch" in err
    assert re.search(r"000001\.png: residual \d+\.\d\d of 255", err)


def test_a_dry_run_writes_nothing_and_says_what_it_would(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    files = crops(tmp_path / "in", 2, 24)
    files[1].write_bytes(b"broken")
    command = ("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC, "--dry-run")
    status, out, _ = cli(*command)
    assert status == 0
    assert not (tmp_path / "out").exists()
    first, second = out.splitlines()
    assert f"{files[0]} -> {tmp_path / 'out' / files[0].name}  (24x24 to 96x96" in first
    assert "can't be read" in second
    status, out, _ = cli(*command, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["event"] for e in events] == ["start", "plan", "plan"]
    assert (events[1]["size"], events[1]["result"]) == ([24, 24], [96, 96])
    assert "not a readable image" in events[2]["error"]


def test_a_result_too_large_for_its_format_fails_before_it_is_computed(
    tmp_path: Path, cli: Cli
) -> None:
    Image.new("RGB", (5000, 4)).save(tmp_path / "wide.png")
    out = tmp_path / "out.webp"
    status, _, err = cli("upscale", tmp_path / "wide.png", "-o", out, *BICUBIC)
    assert status == 1
    assert "WEBP" in err
    assert not out.exists()


@pytest.mark.parametrize("name", ["größe", "写真 1", "a'b\"c", "😀" * 30, "x" * 240])
def test_names_of_all_kinds(tmp_path: Path, crops: Crops, cli: Cli, name: str) -> None:
    file = crops(tmp_path / "in", 1, 8)[0].rename(tmp_path / "in" / f"{name}.png")
    status, out, _ = cli("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert status == 0
    assert out == f"{tmp_path / 'out' / file.name}\n"
    assert names(tmp_path / "out") == [file.name]


def test_names_do_not_steer_the_terminal(tmp_path: Path, crops: Crops, cli: Cli) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    good, bad = tmp_path / "in" / "a\n\x1b[31mb.png", tmp_path / "in" / "c\udcff\x07.png"
    bad.write_bytes(b"no image")
    file.rename(good)
    status, out, err = cli("upscale", tmp_path / "in", "-o", tmp_path / "out", *BICUBIC)
    assert status == 1
    assert out == f"{tmp_path / 'out'}/a\\n\\x1b[31mb.png\n"
    assert f"{tmp_path / 'in'}/c\\udcff\\x07.png: not a readable image" in err


def test_names_that_the_outputs_encoding_lacks_are_escaped(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = crops(tmp_path, 1, 8)
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="ascii"))
    assert main(["upscale", str(file), "-o", str(tmp_path / "é.png"), *BICUBIC]) == 0
    assert output.getvalue().endswith(b"\\xe9.png\n")


def test_a_name_that_gets_too_long_is_one_clear_line(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    file = crops(tmp_path, 1, 8)[0].rename(tmp_path / f"{'x' * 250}.png")
    status, out, err = cli("upscale", file, *BICUBIC)
    assert (status, out) == (1, "")
    assert "too long" in err
    assert len(err.splitlines()) == 2
    assert names(tmp_path) == [file.name]


def test_a_full_disk_costs_the_images_that_do_not_fit(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "in", 2, 8)
    crops(tmp_path / "in" / "large", 1, 96)  # 384x384 of a photograph: some 200 kB
    out = tmp_path / "out"
    command = ["upscale", str(tmp_path / "in"), "-o", str(out), *BICUBIC]

    def on_a_full_disk() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        return main(command)

    status, _, err = Fork(tmp_path, on_a_full_disk).end()
    assert status == 1
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("srkit: ")]
    assert len(lines) == 2
    assert "000001.png" in lines[0]
    assert names(out) == ["000001.png", "000002.png"]
    assert not list(out.rglob("*.part"))


def test_same_sized_images_are_computed_together_and_come_out_the_same(
    tmp_path: Path, crops: Crops, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops(tmp_path / "in", 5, 16)
    crops(tmp_path / "in" / "other", 2, 20)
    seen: list[int] = []
    inner = Model._forward

    def watched(self: Model, lr: Any, half: bool) -> Any:
        seen.append(len(lr))
        return inner(self, lr, half)

    monkeypatch.setattr(Model, "_forward", watched)
    model = ("--device", "cpu")
    assert cli("upscale", tmp_path / "in", "-o", tmp_path / "out", *model)[0] == 0
    assert max(seen) > 4
    assert sum(seen) == 7
    for file in (*(tmp_path / "in").glob("*4.png"), *(tmp_path / "in" / "other").iterdir()):
        alone = tmp_path / "alone.png"
        assert cli("upscale", file, "-o", alone, *model)[0] == 0
        together = tmp_path / "out" / file.relative_to(tmp_path / "in")
        a, b = (np.asarray(Image.open(f)).astype(int) for f in (alone, together))
        assert np.abs(a - b).max() <= 1


def test_files_in_memory_give_the_bytes_that_the_command_writes(
    tmp_path: Path, crops: Crops, cli: Cli
) -> None:
    files = crops(tmp_path / "in", 5, 12)
    for file, suffix in zip(files, (".jpg", ".tif", ".webp", ".bmp"), strict=False):
        with Image.open(file) as image:
            image.save(file.with_suffix(suffix), comment="kept")
    files = sorted((tmp_path / "in").iterdir())
    files[0].write_bytes(b"no image")
    for how, options in (((), {}), (("--format", "webp", "--scale", "3"), {"suffix": "webp"})):
        out = tmp_path / f"out{len(how)}"
        cli("upscale", tmp_path / "in", "-o", out, *how, "--device", "cpu")
        upscaler = Upscaler(**options, scale=3 if how else None, device="cpu")  # type: ignore[arg-type]
        images = [(str(file), file.read_bytes()) for file in files]
        broken, *events = upscaler(images)
        assert (broken.kind, broken.encoded) == ("failed", b"")
        assert broken.error.startswith(f"{files[0]}: not a readable image")
        assert [event.job.input for event in events] == files[1:]
        written = sorted(file.read_bytes() for file in out.iterdir() if file.is_file())
        assert sorted(event.encoded for event in events) == written
    assert Upscaler("bicubic", device="cpu").key() != upscaler.key()
    with pytest.raises(OptionError, match="can't write 'gif'"):
        Upscaler(suffix="gif")
    told: list[float] = []
    assert {e.kind for e in upscaler(images[1:], progress=told.append)} == {"done"}
    assert sum(told) == pytest.approx(len(images) - 1)
    assert upscaler.scale == 3

    def cancelled(done: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(upscaler(images[1:], progress=cancelled))
    wide = io.BytesIO()
    Image.new("L", (9000, 1)).save(wide, "PNG")
    (event,) = Upscaler("bicubic", suffix="webp", device="cpu")([("a/b.png", wide.getvalue())])
    assert event.error.startswith("a/b.webp: WEBP holds 16383 pixels a side, not 36000x4")


# --- a kill -------------------------------------------------------------------------------------


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fork]:
    """Start a command that takes a while to write an image."""
    inner = codec.save

    def save(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.02)
        return inner(*args, **kwargs)

    def start(command: list[str]) -> Fork:
        with monkeypatch.context() as patch:
            patch.setattr(codec, "save", save)
            return Fork(tmp_path, lambda: main(command))

    return start


def test_a_killed_batch_goes_on_with_the_rest(
    tmp_path: Path, crops: Crops, cli: Cli, slow: Callable[..., Fork]
) -> None:
    files = crops(tmp_path / "in", 60, 8)
    out = tmp_path / "out"
    command = ["upscale", str(tmp_path / "in"), "-o", str(out), *BICUBIC, "--skip-existing"]
    fork = slow(command)
    fork.wait_until(lambda: fork.stdout.read_text().count("\n") >= 20)
    assert fork.end(signal.SIGKILL)[0] == -signal.SIGKILL
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    assert 20 <= len(before) < 60
    for name in before:  # whole, whatever was under way
        with Image.open(out / name) as image:
            image.load()
    status, printed, _ = cli(*command, "--json")
    assert status == 0
    events = [json.loads(line) for line in printed.splitlines()]
    kinds = [event["event"] for event in events]
    done, skipped = kinds.count("done"), kinds.count("skipped")
    assert done + skipped == 60
    # A result whose line in the ledger the kill cut off is done again: of two writers, two.
    assert 60 - len(before) <= done <= 62 - len(before)
    assert names(out) == [file.name for file in files]
    untouched = [n for n, when in before.items() if (out / n).stat().st_mtime_ns == when]
    assert len(untouched) >= len(before) - 2
    assert not list(out.rglob("*.part"))
    assert redone(cli, *command[1:-1]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(
    tmp_path: Path, crops: Crops, slow: Callable[..., Fork], number: int
) -> None:
    crops(tmp_path / "in", 60, 8)
    command = ["upscale", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *BICUBIC]
    fork = slow(command)
    fork.wait_until(lambda: bool(fork.stdout.read_text()))
    status, _, err = fork.end(number)
    assert status == 130
    (line,) = [line for line in err.splitlines() if line.startswith("srkit: ")]
    assert "of 60 images done; the same command with --skip-existing goes on" in line
    assert not list((tmp_path / "out").rglob("*.part"))
