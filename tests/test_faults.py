"""Bad photographs, folders and recipes: what `srkit train` says, and what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import reports
from training import tiny

import srkit.__main__
from srkit import InputError, foreign, registry
from srkit.cli import main
from srkit.models import checkpoint
from srkit.training import run_folder

Crops = Callable[[Path, int, int], list[Path]]


@pytest.fixture
def go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, list[str]]]:
    """Train a small recipe for two steps; give status, standard output and the lines of errors."""

    def start(data: Path, *words: str) -> tuple[int, str, list[str]]:
        status = main(
            ["train", "faces-tiny", "--data", str(data), "--out", str(tmp_path / "run"),
             "--device", "cpu", "--steps", "2", "--set", "data.size=32", *words]
        )  # fmt: skip
        printed = capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    return start


def cut_off(file: Path) -> None:
    """Leave a JPEG's header and little more."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 3])


def as_jpegs(files: list[Path]) -> list[Path]:
    from PIL import Image

    made = []
    for file in files:
        with Image.open(file) as image:
            image.save(file.with_suffix(".jpg"), quality=95)
        file.unlink()
        made.append(file.with_suffix(".jpg"))
    return made


def test_a_few_unreadable_jpegs_are_named_counted_and_left_out(
    tmp_path: Path, crops: Crops, go: Callable[..., tuple[int, str, list[str]]]
) -> None:
    files = as_jpegs(crops(tmp_path / "photos", 40, 32))
    for file in files[3], files[17]:
        cut_off(file)
    (tmp_path / "photos" / "no-image.jpg").write_text("not a JPEG")
    status, _, errors = go(tmp_path / "photos")
    said = "".join("".join(errors).split())  # the console breaks lines within names
    assert status == 0
    assert "leftout3brokenimages" in said
    for name in (files[3].name, files[17].name, "no-image.jpg"):
        assert name in said
    assert (tmp_path / "run" / checkpoint.MODEL).is_file()
    first = json.loads((tmp_path / "run" / run_folder.LOG).read_text().splitlines()[0])
    assert len(first["broken"]) == 3
    assert "no-image.jpg" in " ".join(first["broken"])


def test_too_many_unreadable_jpegs_stop_the_run_with_their_names(
    tmp_path: Path, crops: Crops, go: Callable[..., tuple[int, str, list[str]]]
) -> None:
    files = as_jpegs(crops(tmp_path / "photos", 20, 32))
    for file in files[:5]:
        cut_off(file)
    status, _, errors = go(tmp_path / "photos")
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith("srkit: 5 of 20 images are broken")
    assert files[0].name in errors[0]
    assert not (tmp_path / "run").exists()


def test_a_run_logs_what_it_left_out_of_shards(
    tmp_path: Path, crops: Crops, go: Callable[..., tuple[int, str, list[str]]]
) -> None:
    import tarfile

    files = crops(tmp_path / "photos", 60, 32)
    files[1].write_bytes(b"no image")
    with tarfile.open(tmp_path / "shard-0.tar", "w") as tar:
        for file in files:
            tar.add(file, arcname=file.name)
    crops(tmp_path / "held-out", 3, 32)
    status, _, errors = go(
        tmp_path / "shard-{0..0}.tar", "--val", str(tmp_path / "held-out"), "--steps", "6"
    )
    assert status == 0, errors
    log = [
        json.loads(line) for line in (tmp_path / "run" / run_folder.LOG).read_text().splitlines()
    ]
    assert any("000002" in message for line in log for message in line.get("broken", ()))


# --- the environment ----------------------------------------------------------------------------


@pytest.mark.usefixtures("short_measurements")
@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        *[("train", name, value) for name in ("RANK", "WORLD_SIZE") for value in ("x", "9" * 5000)],
        ("upscale", "RANK", "9" * 5000),
        ("upscale", "SRKIT_CACHE", "/dev/null"),
        ("list", "SRKIT_DATA", "\x1b[2J"),
        ("list", "SRKIT_PLUGINS", "no,such;plugin\n"),
        ("list", "COLUMNS", "x"),
        ("hub", "HF_ENDPOINT", "no url"),
        ("hub", "HF_ENDPOINT", "http://[::1"),
        ("bench", "SRKIT_FACENET_WEIGHTS", "/dev/zero"),
    ],
)
def test_an_environment_of_odd_values_gives_no_traceback(
    tmp_path: Path,
    crops: Crops,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    name: str,
    value: str,
    cli: Any,
) -> None:
    photos = tmp_path / "photos"
    crops(photos, 8, 32)
    verbs: dict[str, tuple[object, ...]] = {
        "train": ("train", "faces-tiny", "--data", photos, "--steps", "1", "--plan"),
        "upscale": ("upscale", photos, "-o", tmp_path / "out", "--model", "bicubic"),
        "hub": ("upscale", photos, "-o", tmp_path / "out", "--model", "hf://a/b"),
        "bench": ("bench", "bicubic", "--verify", "folders", "--verify-data", tmp_path),
        "list": ("list", "recipes"),
    }
    monkeypatch.setenv(name, value)
    status, out, err = cli(*verbs[words])
    assert status in (0, 2)
    assert "Traceback" not in err
    assert "\x1b" not in out + err
    assert status == 0 or len(err.splitlines()) == 1, err


# --- what others wrote --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["a" + ".a" * 50_000 + " = 1", "[a" + ".a" * 50_000 + "]", " " * 2**21]
)
def test_toml_that_would_take_its_parser_minutes_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^x: too large, or nested more than 64 deep$"):
        foreign.parse(text, dict[str, Any], "TOML", "x")


def test_a_key_of_any_length_is_a_line_of_a_lines_length(
    tmp_path: Path, crops: Crops, cli: Any
) -> None:
    crops(tmp_path, 1, 8)
    (tmp_path / "r.toml").write_text(
        f"{'x' * 10_000} = 1\n" + registry.build("recipes", "faces").to_toml()
    )
    status, _, err = cli("degrade", tmp_path, tmp_path / "out", "--recipe", tmp_path / "r.toml")
    assert status == 2
    assert 1000 < len(err) < 2000


def test_a_ledger_that_says_done_without_a_file_is_not_believed(
    tmp_path: Path, crops: Crops, cli: Any
) -> None:
    crops(tmp_path / "in", 2, 8)
    words = ("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", "bicubic")
    assert cli(*words)[0] == 0
    (ledger,) = (tmp_path / "out").rglob("*.jsonl")
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    rows[0]["files"] = []
    rows[1]["files"] = [["nowhere", 0, 0]]
    ledger.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "out" / rows[0]["name"]).unlink()
    status, out, _ = cli(*words, "--skip-existing")
    assert (status, len(out.splitlines())) == (0, 2)


def test_a_report_of_odd_values_is_compared_or_refused(tmp_path: Path, cli: Any) -> None:
    report = reports.report({"a": 1.0})
    report.write(tmp_path / "a.json")
    values = json.loads((tmp_path / "a.json").read_text())
    values["quality"]["metrics"]["psnr"] |= {"unit": {"x": 1}, "title": 5}
    values["quality"]["scores"]["a"]["psnr"] = [1e308] * len(values["quality"]["images"])
    (tmp_path / "b.json").write_text(json.dumps(values))
    assert cli("compare", tmp_path / "a.json", tmp_path / "b.json")[0] in (0, 2)


def test_a_log_that_is_no_log_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1}\n{"step": 2}\n' + b"[" * 100_000 + b"\n\xff\n")
    run_folder.cut_log(log, 5)
    assert log.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


# --- names --------------------------------------------------------------------------------------

ESCAPES = "\x1b[31m\nsrkit: \x07"
NAMED: dict[str, tuple[str, ...]] = {
    "upscale": ("in", "-o", "out", "--model", "bicubic"),
    "degrade": ("in", "out"),
    "bench": ("bicubic", "--data", "in", "--report", "out", "--device", "cpu"),
    "bench --write-lr": ("--write-lr", "out", "--data", "in"),
    "prepare": ("in", "out", "--device", "cpu", "--workers", "1"),
    "train": ("r.toml", "--data", "in", "--out", "out", "--device", "cpu"),
    "info": ("model.safetensors",),
    "export": ("model.safetensors", "--out", "out.onnx"),
}


@pytest.mark.parametrize(
    "verb",
    [pytest.param(v, marks=[pytest.mark.long] * (v in ("prepare", "export"))) for v in NAMED],
)
def test_names_that_steer_a_terminal_are_shown_escaped(
    tmp_path: Path, crops: Crops, cli: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    crops(Path(f"in{ESCAPES}"), 12, 64)
    (Path(f"in{ESCAPES}") / f"broken{ESCAPES}.png").write_bytes(b"no image")
    recipe = tiny(steps=1)
    Path(f"r{ESCAPES}.toml").write_text(recipe.to_toml())
    state = checkpoint.prefixed("generator", recipe.build("generator").state_dict())
    checkpoint.write(Path(f"model{ESCAPES}.safetensors"), state, recipe, 1)

    def named(word: str) -> str:
        stem, dot, suffix = word.partition(".")
        place = word in ("in", "out") or dot
        return f"{stem}{ESCAPES}{dot}{suffix}" if place else word

    words = (*verb.split(), *map(named, NAMED[verb]))
    status, out, err = cli(*words)
    shown = out + err
    if status == 2:  # of a bench: no image may be left out
        (Path(f"in{ESCAPES}") / f"broken{ESCAPES}.png").unlink()
        status, out, err = cli(*words)
    assert status in (0, 1), err
    shown = (shown + out + err).replace(r"\n", " ")
    assert not {*shown} & {"\x1b", "\x07"}
    escaped = r"\x1b[31m srkit: \x07"
    assert escaped in shown
    if verb not in ("info", "export"):
        assert f"broken{escaped}.png" in shown
    if verb == "bench":
        for name in ("index.html", "report.md"):
            text = (Path(f"out{ESCAPES}") / name).read_text()
            assert not {*text} & {"\x1b", "\x07"}
            assert "\nsrkit: " not in text


def test_an_interrupt_while_modules_are_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "srkit.cli", Slow("srkit.cli"))
    assert srkit.__main__.main() == 130
    assert capsys.readouterr() == ("", "srkit: interrupted\n")


def test_an_interrupt_while_python_ends_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srkit.cli.main", lambda: 0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert srkit.__main__.main() == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_without_a_terminal_says_now_and_then_how_long_it_takes(
    crops: Crops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go: Any
) -> None:
    crops(tmp_path / "photos", 8, 32)
    quiet = go(tmp_path / "photos", "--steps", "3", "--out", str(tmp_path / "quiet"))
    monkeypatch.setattr("srkit.progress.EVERY", 0.0)
    status, _, lines = go(tmp_path / "photos", "--steps", "3")
    assert (quiet[0], status) == (0, 0)
    assert not [line for line in quiet[2] if line.endswith(" left")]  # done within half a minute
    timed = [line for line in lines if re.fullmatch(r"step [123] of 3  .* \d:\d\d:\d\d left", line)]
    assert timed
    assert timed[-1].endswith("0:00:00 left")


EMPTY = (
    ("degrade", "", "out"),
    ("degrade", "in", ""),
    ("prepare", "in", ""),
    ("bench", ""),
    ("bench", "bicubic", "--data", ""),
    ("bench", "bicubic", "--data", "in", "--report", ""),
    ("train", "r.toml", "--data", "in", "--out", ""),
    ("export", "", "--out", "x.onnx"),
    ("info", ""),
    ("compare", "", ""),
    ("upscale", "in", "--out", ""),
    ("upscale", "in/a.png", "--model", ""),
    ("upscale", "in", "--out="),
    ("upscale", "in/a.png", "--model="),
)


@pytest.mark.parametrize("words", EMPTY)
def test_an_empty_argument_does_nothing(
    words: tuple[str, ...], refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable of the shell's that is unset; it would be the current folder."""
    monkeypatch.chdir(tmp_path)
    assert "an argument is empty" in refused(*words)
    assert list(tmp_path.iterdir()) == []


LONG = "x" * 300
TOO_LONG = (
    ("upscale", f"{LONG}.png"),
    ("upscale", "in", "--out", LONG),
    ("degrade", "in", f"{LONG}.png"),
    ("bench", "bicubic", "--data", "in", "--json", f"{LONG}.json"),
    ("export", "bicubic", "--out", f"{LONG}.onnx"),
    ("train", "r.toml", "--data", "in", "--out", LONG),
    ("info", f"{LONG}.safetensors"),
    ("compare", LONG, LONG),
)


@pytest.mark.parametrize("words", TOO_LONG)
def test_a_name_that_no_disk_takes_is_one_line(
    words: tuple[str, ...],
    refused: Any,
    crops: Crops,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    crops(tmp_path / "in", 4, 32)
    (tmp_path / "r.toml").write_text(tiny(steps=1).to_toml())
    assert "File name too long" in refused(*words)


def test_a_network_without_width_is_one_line(refused: Any, crops: Crops, tmp_path: Path) -> None:
    crops(tmp_path / "in", 4, 32)
    (tmp_path / "r.toml").write_text(tiny(steps=1).to_toml())
    words = ("--data", tmp_path / "in", "--out", tmp_path / "run", "--device", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of weights without elements
        line = refused("train", tmp_path / "r.toml", *words, "--set", "generator.width=0")
    assert "recipe 'tiny': " in line


@pytest.mark.parametrize("out", ["file", "loop", "nowhere"])
@pytest.mark.parametrize("verb", ["upscale --model bicubic -o", "degrade", "prepare"])
def test_a_folder_that_is_none_is_one_line(
    refused: Any,
    crops: Crops,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    out: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    crops(Path("in"), 2, 32)
    Path("file").write_text("mine")
    Path("loop").symlink_to("loop")
    Path("nowhere").symlink_to("none/there")
    name, *more = verb.split()
    assert out in refused(name, "in", *more, out)
    assert Path("file").read_text() == "mine"
    assert sorted(map(str, Path().iterdir())) == ["file", "in", "loop", "nowhere"]
