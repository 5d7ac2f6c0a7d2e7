"""The command line: what it prints, what it refuses and how, and what it never does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import srkit
from srkit import InputError, Recipe, defaults, errors, plugins, registry
from srkit.batch.jobs import FOLDER, Job, plan
from srkit.cli import main
from srkit.hookspecs import kinds
from srkit.models import checkpoint
from srkit.training import run_folder

Install = Callable[..., Path]
Crops = Callable[[Path, int, int], list[Path]]
Cli = Callable[..., tuple[int, str, str]]

# A run of seconds: a small network, small images.
TINY = (
    *("--set", "generator.width=8", "--set", "generator.blocks=1", "--set", "data.size=32"),
    *("--batch-size", "4", "--device", "cpu"),
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in an empty folder, knows no data set, and has a wide terminal."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path / "data sets"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("SRKIT_FACENET_WEIGHTS", raising=False)


def save_image(file: Path, size: tuple[int, int] = (12, 10), colour: int = 90) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 255 - colour, 128)).save(file)
    return file


def hidden(folder: Path) -> list[Path]:
    """What a command that fails must not leave behind; a batch's manifest it may."""
    found = (p for p in folder.rglob("*") if p.name != FOLDER)
    return [p for p in found if p.name.startswith(".") or p.suffix in (".part", ".tmp")]


def shown(folder: Path) -> list[Path]:
    """What a folder of results shows: all but the batch's manifest."""
    return sorted(p for p in folder.iterdir() if p.name != FOLDER)


def images_in(folder: Path) -> list[Path]:
    """All files below a folder but batches' manifests."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.parent.name != FOLDER)


# --- without torch ------------------------------------------------------------------------------

LIGHT = [
    ["--help"],
    ["--version"],
    ["list"],
    ["list", "generators"],
    ["plugins"],
    *([name, "--help"] for name in ("train", "upscale", "bench", "compare", "degrade", "info")),
    ["prepare", "--help"],
]
HEAVY = {"facenet_pytorch", "kornia", "matplotlib", "numpy", "skimage", "timm", "torch"}


def test_looking_around_imports_nothing_heavy() -> None:
    code = f"""
import sys
import srkit
from srkit import registry
from srkit.hookspecs import kinds
assert not {HEAVY} & set(sys.modules)
for kind in kinds():
    registry.offers(kind)
assert registry.offers("generators")
from srkit.cli import main
heavy = {HEAVY | {"pydantic", "rich", "srkit.cli.train", "srkit.recipe"}}
for arguments in {LIGHT}:
    assert main(arguments) == 0
    assert not heavy & set(sys.modules), (arguments, heavy & set(sys.modules))
    heavy = {HEAVY}
"""
    env = os.environ | {"SRKIT_STRICT": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


def test_the_packages_exit_status_is_the_commands() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "srkit", "list", "generater"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("srkit: unknown kind 'generater'")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("arguments", [["--version"], ["list", "losses"]])
def test_output_that_cannot_be_written_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "srkit", *arguments]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == "srkit: can't write the output: No space left on device\n"


def test_no_command_shows_the_help(cli: Cli) -> None:
    status, out, err = cli()
    assert status == 2
    assert "train" in out + err
    assert "upscale" in out + err


def test_wrong_usage_is_one_line_with_the_usage_of_the_help(cli: Cli) -> None:
    for words, said in {
        ("upscale",): "missing argument 'inputs'",
        ("upscale", "a.png", "--scal", "2"): "no such option: --scal",
        ("upscale", "a.png", "--scale", "x"): "invalid value for '--scale'",
        ("upscal",): "no such command 'upscal' (did you mean 'upscale'?)",
        ("--verson",): "no such option: --verson",
        ("plugins", "chek"): "no such command 'chek'",
        ("train",): "missing argument 'recipe'",
        ("train", "faces", "--steps", "0"): "invalid value for '--steps'",
        ("bench", "--model", "bicubic"): "no such option: --model",
    }.items():
        status, out, err = cli(*words)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("srkit: ")
        assert said.lower() in err.lower()
        command = [word for word in words[:1] if word not in ("upscal", "--verson")]
        usage = cli(*command, "--help")[1].splitlines()[0]
        assert err.endswith(f"; {usage[0].lower()}{usage[1:]}\n")
    last = cli("upscale", "a.png", "--scale")
    assert last == (2, "", "srkit: option '--scale' requires an argument\n")


def test_the_help_lists_the_verbs_in_the_order_one_needs_them(cli: Cli) -> None:
    _, out, _ = cli("--help")
    words = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    listed = [word for word in defaults.COMMANDS if word in words]
    assert listed == words[: len(listed)]
    assert {*FUNCTIONS, "plugins", "reproduce"} == {*listed}
    assert words[len(listed) :][:2] == ["--plugin", "--version"]
    assert max(map(len, out.splitlines())) <= 80
    assert not re.search(r"^ {5}", out, re.MULTILINE)  # a line a command


FUNCTIONS = {
    entry_point.name: entry_point.load()
    for entry_point, plugin in plugins.declared(plugins.COMMANDS_GROUP)
    if plugin.built_in and not isinstance(entry_point.load(), typer.Typer)
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_fits_80_columns_and_its_examples_parse(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = cli(name, "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    titles_and_texts = re.split(r"^([A-Z][a-z ]+):\n", out, flags=re.MULTILINE)[1:]
    sections = dict(zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True))
    assert "--help" in sections["Options"]
    sections.pop("Arguments", None)
    assert not re.search(r"^ {5}", "".join(sections.values()), re.MULTILINE)  # a line an option
    app = typer.Typer()
    app.command()(FUNCTIONS[name])
    command: Any = typer.main.get_command(app)
    examples = [line.split() for line in out.partition("Examples:\n")[2].splitlines() if line]
    assert len(examples) == 2
    for _, verb, *words in examples:
        if verb == name:
            command.make_context(verb, words[: words.index(">")] if ">" in words else words)


@pytest.mark.parametrize("name", ["plugins check", "plugins new", "reproduce paper"])
def test_a_command_of_a_group_has_examples_too(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = cli(*name.split(), "-h")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    examples = out.partition("Examples:\n")[2].split("\n")[:2]
    assert all(line.startswith(f"  srkit {name}") for line in examples)
    group = name.split()[0]
    _, out, _ = cli(group, "--help")
    assert out.startswith(
        f"Usage: srkit {group} {'[COMMAND]' if group == 'plugins' else 'COMMAND'}"
    )


# --- what there is ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*kinds(), "face-sets"])
def test_list_shows_every_name_and_its_owner(cli: Cli, kind: str) -> None:
    status, out, err = cli("list", kind)
    kind = kind.replace("-", "_")
    assert (status, err) == (0, "")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[-3] for row in rows] == list(registry.offers(kind))
    assert all(row[-2:] == ["srkit", srkit.__version__] for row in rows)


def test_list_long_shows_options_defaults_and_what_it_is(cli: Cli) -> None:
    status, out, err = cli("list", "generators", "--long")
    assert (status, err) == (0, "")
    assert all(name in out for name in registry.offers("generators"))
    for text in ("width: int = 64", "width: float = 1.0", "; scale: int = 4"):
        assert text in out
    assert "\\n" not in out


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, next(iter(registry.offers(kind)), "")) for kind in kinds()]
)
def test_info_of_a_name_of_every_kind(cli: Cli, kind: str, name: str) -> None:
    if not name:
        assert kind == "readers", f"nothing provides {kind}"
        return
    if kind == "models":
        name = "bicubic"
    status, out, err = cli("info", name)
    assert (status, err) == (0, "")
    assert name in out
    assert registry.singular(kind) in out
    assert f"srkit {srkit.__version__}" in out
    assert registry.describe(kind, name)[:40] in out
    for option in registry.options(kind, name):
        assert f"option {option}" in out


def test_info_of_a_recipe_is_a_recipe(cli: Cli) -> None:
    _, out, _ = cli("info", "faces-tiny")
    toml = out[out.index("name = ") :]
    assert Recipe.from_toml(toml) == registry.build("recipes", "faces-tiny")


def test_info_of_the_shipped_model_shows_its_card_and_licence(cli: Cli) -> None:
    status, out, _ = cli("info", "faces")
    assert status == 0
    assert out.startswith("faces  model, by ")  # before the recipe of that name
    ready = registry.build("models", "faces")
    assert ready.licence in out
    assert ready.card.read_text(encoding="utf-8").splitlines()[0] in out
    assert "<!--" not in out


def test_plugins_shows_where_each_comes_from(cli: Cli, fake_distribution: Install) -> None:
    fake_distribution("srkit-bad", {"bad_plugin": "raise RuntimeError('no luck')"}, version="3.1")
    status, out, err = cli("plugins")
    assert status == 0
    assert err.count("\n") == 1
    row = next(line for line in out.splitlines() if line.startswith("srkit-bad"))
    *words, seconds = row.split()[1:5]
    assert words == ["3.1", "srkit-bad", "bad_plugin"]
    assert 0 <= float(seconds) < 10
    assert "broken: RuntimeError: no luck" in row
    assert "srkit_inception_gan" in out


GOOD = """
import srkit

def make(*, width: int = 3):
    "A part for tests."

@srkit.hookimpl
def srkit_losses():
    return {"l1": make, "own": make}
"""


def test_a_part_of_a_built_ins_name_is_listed_beside_it(
    cli: Cli, fake_distribution: Install
) -> None:
    fake_distribution("srkit-rival", {"rival_plugin": GOOD})
    for extra in ((), ("--long",)):
        status, out, err = cli("list", "losses", *extra)
        assert (status, err) == (0, "")
        rows = [line.split() for line in out.splitlines()]
        assert ["loss", "l1", "srkit", srkit.__version__] in [row[:4] for row in rows]
        assert ["loss", "srkit-rival:l1", "srkit-rival", "1.0"] in [row[:4] for row in rows]


def test_a_clash_is_listed_and_refused_when_asked_for(
    cli: Cli, refused: Callable[..., str], fake_distribution: Install
) -> None:
    for name in ("one", "two"):
        fake_distribution(f"srkit-{name}", {f"{name}_plugin": GOOD})
    _, out, _ = cli("list", "losses")
    row = next(line for line in out.splitlines() if " own " in line)
    assert row.endswith("srkit-one 1.0 and srkit-two 1.0  (clash)")
    line = refused("train", "faces-tiny", "--set", "losses.own.weight=1", "--data", "samples")
    assert "loss 'own' is provided by srkit-one 1.0 (srkit-one) and srkit-two" in line
    assert "say 'srkit-one:own' or 'srkit-two:own'" in line


# --- what can't start ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "inception-gam"], "unknown recipe 'inception-gam' (did you mean 'inception-gan"),
        (["train", "xyz"], "unknown recipe 'xyz'; known recipes"),  # nothing is like it
        (["train", "none.toml"], "none.toml"),
        (["list", "generater"], "unknown kind 'generater' (did you mean 'generators'?)"),
        (["info", "face-residul"], "unknown name 'face-residul' (did you mean 'face-resid"),
        (["train", "faces", "--set", "generator.width"], "--set takes part.option=value"),
        (["train", "faces", "--set", "=3"], "--set takes part.option=value"),
        (["train", "faces-tiny", "--set", "generator.widht=3"], "did you mean 'width'"),
        (["train", "faces-tiny", "--set", "generator.width=wide"], "'width' can't be 'wide'"),
        (["train", "faces", "--set", "generator.name=resnet"], "unknown generator 'resnet'"),
        (["train", "faces", "--set", "losses.l2.weight=1"], "unknown loss 'l2'"),
        (["train", "faces", "--set", "losses.l1.epsilon=1"], "loss 'l1': unknown key 'epsilon'"),
        (["train", "faces", "--set", "steps=0"], "steps"),
        (["train", "faces", "--set", "optimizer.learning_rat=1"], "did you mean 'learning_rate'"),
        (["train", "faces", "--set", "scale=3"], "scale 3"),
        (
            ["train", "faces-tiny", "--set", "scale=2"],
            "degradation 'faces-x4' makes 16x16 of 64x64",
        ),
        (["train", "faces", "--set", "losses.feature.weight=1"], "needs a discriminator"),
        (["train", "faces", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["train", "faces", "--resume"], "holds no run to resume"),
        (["train", "faces", "--steps", "9", "--time-budget", "1h"], "exclude each other"),
        (["train", "faces", "--storage", "strem"], "not 'strem' (did you mean 'stream'?)"),
        (["upscale", "nothing.png", "--model", "bicubic"], "nothing.png: no such file or folder"),
        (["bench", "bicubic", "--data", "samples"], "samples"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    refused: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in refused(*arguments)
    assert hidden(Path.cwd()) == []
    assert not Path("runs").exists()


@pytest.mark.parametrize("model", ["facez", "none.safetensors"])
@pytest.mark.parametrize("verb", ["upscale", "bench"])
def test_an_unknown_model(
    refused: Callable[..., str], crops: Crops, tmp_path: Path, verb: str, model: str
) -> None:
    (file,) = crops(tmp_path / "photos", 1, 32)
    arguments = (
        ["upscale", file, "--model", model]
        if verb == "upscale"
        else ["bench", model, "--data", file.parent]
    )
    line = refused(*arguments)
    assert f"no model '{model}'" in line
    assert model != "facez" or "did you mean 'faces'" in line


def test_missing_celeba_says_how_to_get_it_and_what_to_do_without(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    for folder in (tmp_path / "data sets", None):
        if folder:
            folder.mkdir()
        line = refused("train", "inception-gan", *TINY[4:6])
        assert "celeba" in line
        assert "img_align_celeba.zip" in line
        assert str(tmp_path / "data sets" / "celeba") in line
        assert "--data samples" in line


def test_folders_that_hold_no_images(refused: Callable[..., str], tmp_path: Path) -> None:
    start = ["train", "faces-tiny"]
    assert "none-such" in refused(*start, "--data", "none-such")
    (tmp_path / "empty").mkdir()
    assert "no images in it" in refused(*start, "--data", tmp_path / "empty")
    notes = tmp_path / "notes"
    notes.mkdir()
    for number in range(3):
        (notes / f"{number}.txt").write_text("a note")
    assert "no images in it" in refused(*start, "--data", notes)
    for number in range(3):
        (notes / f"{number}.png").write_text("a note under an image's name")
    line = refused(*start, "--data", notes)
    assert "0.png" in line
    assert not Path("runs").exists()


def test_an_image_where_weights_are_wanted(refused: Callable[..., str], tmp_path: Path) -> None:
    file = save_image(tmp_path / "face.png")
    assert "face.png: not a readable checkpoint" in refused("upscale", file, "--model", file)


# --- upscale ------------------------------------------------------------------------------------

BICUBIC = ("--model", "bicubic", "--device", "cpu")


def test_upscale_writes_beside_the_input_and_says_where(cli: Cli, tmp_path: Path) -> None:
    file = save_image(tmp_path / "photos" / "face.png")
    before = file.read_bytes()
    status, out, err = cli("upscale", file, *BICUBIC)
    assert (status, err) == (0, "")
    result = tmp_path / "photos" / "face-x4.png"
    assert out == f"{result}\n"
    with Image.open(result) as image:
        assert image.size == (48, 40)
    assert file.read_bytes() == before


def jobs(inputs: Sequence[Path], out: Path | None = None) -> list[tuple[Path, Path]]:
    return [(job.input, job.output) for job in plan([str(name) for name in inputs], out, "x4")]


def test_names_of_results(tmp_path: Path) -> None:
    a, b = save_image(tmp_path / "a.png"), save_image(tmp_path / "b.JPG")
    odd = tmp_path / "no-suffix"
    odd.write_bytes(a.read_bytes())
    # Beside the input; a suffix that can't be written becomes PNG.
    assert jobs([a]) == [(a, tmp_path / "a-x4.png")]
    assert jobs([b]) == [(b, tmp_path / "b-x4.jpg")]
    assert jobs([odd]) == [(odd, tmp_path / "no-suffix-x4.png")]
    # A file, where it has an image's suffix and there is one image.
    assert jobs([a], tmp_path / "new" / "c.webp") == [(a, tmp_path / "new" / "c.webp")]
    # A folder otherwise, whether it is there yet or not.
    assert jobs([a], tmp_path / "new") == [(a, tmp_path / "new" / "a.png")]
    new = tmp_path / "new"
    assert jobs([a, b], new) == [(a, new / "a.png"), (b, new / "b.jpg")]
    # Two never share a result.
    again = save_image(tmp_path / "2" / "a.png")
    assert jobs([a, again], new) == [(a, new / "a.png"), (again, new / "a-2.png")]
    file = tmp_path / "new.png"
    assert jobs([a, again], file) == [(a, file), (again, tmp_path / "new-2.png")]
    assert plan([str(a)], None, "x2") == [Job(a, tmp_path / "a-x2.png")]
    named = tmp_path / "folder.png"
    named.mkdir()
    assert jobs([a], named) == [(a, named / "a.png")]


def test_a_folder_is_mirrored(cli: Cli, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("a.png", "deep/er/b.png", "deep/a.jpg", ".hidden.png"):
        save_image(photos / name)
    (photos / "notes.txt").write_text("a note")
    status, out, _ = cli("upscale", photos, *BICUBIC)
    assert status == 0
    mirrored = tmp_path / "photos-x4"
    found = [str(p.relative_to(mirrored)) for p in images_in(mirrored)]
    assert found == ["a.png", "deep/a.jpg", "deep/er/b.png"]
    assert len(out.splitlines()) == 3
    status, _, _ = cli("upscale", photos, "-o", tmp_path / "other", *BICUBIC)
    assert (tmp_path / "other" / "deep" / "er" / "b.png").is_file()


def test_a_folder_named_by_a_dot(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_image(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path / "photos")
    status, _, _ = cli("upscale", ".", *BICUBIC)
    assert status == 0
    assert (tmp_path / "photos-x4" / "a.png").is_file()


def test_a_second_run_does_not_take_results_for_inputs(cli: Cli, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    save_image(photos / "a.png")
    for _ in range(3):
        assert cli("upscale", photos, "-o", photos / "big", *BICUBIC)[0] == 0
    found = [str(p.relative_to(photos)) for p in images_in(photos)]
    assert found == ["a.png", "big/a.png"]


def test_a_file_beside_an_input_is_written_over_only_by_force(
    cli: Cli, refused: Callable[..., str], tmp_path: Path
) -> None:
    file = save_image(tmp_path / "a.png")
    assert cli("upscale", file, *BICUBIC)[0] == 0
    before = (tmp_path / "a-x4.png").read_bytes()
    save_image(file, colour=200)
    assert "a-x4.png is there already; --force" in refused("upscale", file, *BICUBIC)
    assert (tmp_path / "a-x4.png").read_bytes() == before
    assert cli("upscale", file, "--dry-run", *BICUBIC)[0] == 0
    assert cli("upscale", file, "--force", *BICUBIC)[0] == 0
    with Image.open(tmp_path / "a-x4.png") as image:
        assert image.getpixel((9, 9)) == (200, 55, 128)


def test_no_input_is_ever_written_over(refused: Callable[..., str], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    a, also = save_image(photos / "a.png"), save_image(photos / "a-x4.png", colour=5)
    link = tmp_path / "link"
    link.symlink_to(photos, target_is_directory=True)
    before = a.read_bytes(), also.read_bytes()
    for arguments in (
        [a, "-o", a],  # itself
        [a, "-o", photos],  # its folder
        [a, "-o", link / "a.png"],  # itself by another path
        [photos, "-o", photos],
        [photos, "-o", link],
        [a, also],  # the first one's result is the second input
        [photos, a, "-o", photos],
    ):
        line = refused("upscale", *arguments, *BICUBIC)
        assert "is an input" in line
        assert (a.read_bytes(), also.read_bytes()) == before
    assert hidden(tmp_path) == []


def test_a_hard_link_to_an_input_stays_as_it_was(cli: Cli, tmp_path: Path) -> None:
    a = save_image(tmp_path / "a.png")
    before = a.read_bytes()
    (tmp_path / "linked.png").hardlink_to(a)
    cli("upscale", a, "-o", tmp_path / "linked.png", *BICUBIC)
    assert a.read_bytes() == before


def test_a_result_that_cannot_be_written_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    file = save_image(tmp_path / "face.png")
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    status, _, err = cli("upscale", file, "-o", in_the_way / "deep", *BICUBIC)
    assert status in (1, 2)
    assert "Traceback" not in err
    assert err.startswith("srkit: ")
    assert in_the_way.read_text() == "no folder"
    assert hidden(tmp_path) == []


# --- commands of plugins ------------------------------------------------------------------------

COMMANDS = """
import click
import typer

print("imported")

def greet(name: str, loud: bool = False) -> None:
    "Greet somebody."
    print(f"hello {name}" + "!" * loud)

several = typer.Typer()

@several.callback()
def several_things() -> None:
    "Do several things."

@several.command()
def one() -> None:
    print("first")

@several.command()
def two() -> None:
    print("second")

single = typer.Typer()

@single.command()
def alone(number: int = 1) -> None:
    print(f"alone {number}")

@click.command()
@click.argument("name")
def clicked(name: str) -> None:
    print(f"clicked {name}")

def refuse() -> None:
    from srkit import InputError
    raise InputError("not today")

def leave() -> None:
    raise typer.Exit(7)
"""


POINTS = {
    "greet": "cmd_module:greet",
    "several": "cmd_module:several",
    "single": "cmd_module:single",
    "clicked": "cmd_module:clicked",
    "refuse": "cmd_module:refuse",
    "leave": "cmd_module:leave",
    "broken": "cmd_nowhere:command",
}


def declare(site: Path, points: dict[str, str]) -> None:
    (info,) = site.glob("*.dist-info")
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[srkit.commands]", *lines]) + "\n")


@pytest.fixture
def commands(fake_distribution: Install) -> Path:
    site = fake_distribution("srkit-cmd", {"cmd_plugin": "", "cmd_module": COMMANDS})
    declare(site, POINTS)
    return site


@pytest.mark.usefixtures("commands")
def test_a_plugins_commands_are_imported_only_when_called(cli: Cli) -> None:
    status, out, _ = cli("--help")
    assert status == 0
    assert "greet" in out
    assert "Greet somebody." in out
    assert "Do several things." in out
    assert "A command of srkit-cmd 1.0" in out
    assert "imported" not in out
    assert "cmd_module" not in sys.modules


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["greet", "you"], "hello you\n"),
        (["greet", "you", "--loud"], "hello you!\n"),
        (["greet", "--help"], "Greet somebody."),
        (["several", "--help"], "Usage: srkit several COMMAND [OPTIONS]\n\nDo several things."),
        (["several", "one"], "first\n"),
        (["several", "two"], "second\n"),
        (["single", "--number", "3"], "alone 3\n"),
        (["single", "--help"], "Usage: srkit single [OPTIONS]\n"),
        (["clicked", "--", "--you"], "clicked --you\n"),
        (["greet", "--", "--you"], "hello --you\n"),
    ],
)
def test_a_plugins_command_gets_its_own_arguments(
    cli: Cli, arguments: list[str], message: str
) -> None:
    status, out, err = cli(*arguments)
    assert (status, err) == (0, "imported\n")  # what a plugin prints isn't output
    assert message in out


@pytest.mark.usefixtures("commands")
def test_a_plugins_command_has_its_own_status(cli: Cli) -> None:
    assert cli("leave")[0] == 7
    status, _, err = cli("refuse")
    assert status == 2
    assert err == "srkit: not today\n"
    status, _, err = cli("greet")
    assert status == 2
    assert "Traceback" not in err


@pytest.mark.usefixtures("commands")
def test_a_command_of_two_plugins_is_refused(cli: Cli, fake_distribution: Install) -> None:
    declare(fake_distribution("srkit-too", {"too_plugin": ""}), {"greet": "cmd_module:greet"})
    status, _, err = cli("greet", "you")
    assert status == 2
    assert "command 'greet' is provided by srkit-cmd 1.0 and srkit-too 1.0; choose one" in err


def test_our_own_verbs_cannot_be_replaced(cli: Cli, commands: Path) -> None:
    declare(commands, POINTS | {"train": "cmd_module:greet", "prepare": "cmd_module:greet"})
    status, out, err = cli("train", "--help")
    assert (status, err) == (0, "")
    assert "RECIPE" in out.upper()
    assert "hello" not in out
    start = "srkit: warning: plugin srkit-cmd 1.0"
    for line, name in zip(cli("--help")[2].splitlines(), ("prepare", "train"), strict=True):
        assert line == f"{start} ({name}) skipped: command '{name}' is srkit's own"
    assert "hello" not in cli("prepare", "--help")[1]


@pytest.mark.usefixtures("commands")
def test_srkit_plugins_leaves_commands_out_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    status, out, err = cli("--help")
    assert (status, err) == (0, "")
    assert "greet" not in out


# --- train, demo, bench -------------------------------------------------------------------------


def test_a_run_from_the_command_line_and_its_resumption(
    cli: Cli, refused: Callable[..., str], crops: Crops, tmp_path: Path
) -> None:
    crops(tmp_path / "photos", 8, 32)
    start = ("train", "faces-tiny", "--data", tmp_path / "photos", *TINY)
    status, out, err = cli(*start, "--steps", 6, "--checkpoint-every", 3)
    assert status == 0
    run = Path("runs/faces-tiny")
    assert out.startswith(f"{run / 'model.safetensors'}  step 6  PSNR ")
    assert "over bicubic" in err
    recipe = Recipe.from_file(run / run_folder.RECIPE)
    assert recipe.generator.options == {"width": 8, "blocks": 1}
    assert (recipe.steps, recipe.batch_size, recipe.data.size) == (6, 4, 32)
    steps = [json.loads(line)["step"] for line in (run / run_folder.LOG).read_text().splitlines()]
    assert steps == [0, 6]
    assert checkpoint.read(run / checkpoint.MODEL).recipe == recipe
    assert [file.name for file in checkpoint.checkpoints(run)] == [
        "checkpoint-00000000.safetensors",
        "checkpoint-00000003.safetensors",
        "checkpoint-00000006.safetensors",
    ]
    assert list(run.glob("grid-*.png"))
    assert hidden(run) == []

    # More steps; the rest of the recipe is what it was.
    status, out, _ = cli(*start, "--steps", 8, "--resume")
    assert status == 0
    assert "step 8" in out
    assert Recipe.from_file(run / run_folder.RECIPE).steps == 8
    assert "seed: 0 -> 3" in refused(*start, "--steps", 9, "--seed", 3, "--resume")
    line = refused("train", "faces", "--out", run, "--resume")
    assert line.endswith("holds a run of 'faces-tiny', not of 'faces'")

    # By name, as the page says.
    file = save_image(tmp_path / "face.png")
    assert cli("upscale", file, "--model", "faces-tiny", "--device", "cpu")[0] == 0
    with Image.open(tmp_path / "face-x4.png") as image:
        assert image.size == (48, 40)
    report = tmp_path / "report.json"
    status, out, err = cli(
        *("bench", "faces-tiny", "bicubic", "--data", tmp_path / "photos", "--limit", 3),
        *("--json", report, "--device", "cpu"),
    )
    assert status == 0
    assert "faces-tiny was TRAINED ON 2 of these 3 photos" in err
    assert "faces-tiny" in out
    assert "PSNR" in out
    written = json.loads(report.read_text())
    assert list(written["quality"]["scores"]) == [
        *("nearest", "bicubic", "lanczos"),
        "faces-tiny",
    ]
    assert hidden(tmp_path) == []


def test_a_run_from_a_toml_file(cli: Cli, crops: Crops, tmp_path: Path) -> None:
    crops(tmp_path / "photos", 8, 32)
    recipe = registry.build("recipes", "faces-tiny").changed(
        {"name": "my-own", "generator.width": 8, "generator.blocks": 1, "data.size": 32}
        | {"precision": "fp32"}
    )
    file = tmp_path / "my-own.toml"
    file.write_text(recipe.to_toml())
    status, _, _ = cli(
        *("train", file, "--data", tmp_path / "photos", "--steps", 2, "--batch-size", 2),
        *("--val", tmp_path / "photos", "--device", "cpu"),
    )
    assert status == 0
    assert Recipe.from_file(Path("runs/my-own/recipe.toml")) == recipe.changed(
        {"steps": 2, "batch_size": 2}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not TOML"),
        ('name = "x"', "'generator' is missing"),
        ('nmae = "x"\n[generator]\nname = "bicubic"', "did you mean 'name'"),
    ],
)
def test_a_toml_file_that_is_no_recipe(
    refused: Callable[..., str], tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    line = refused("train", file)
    assert "my.toml" in line
    assert message in line


@pytest.mark.parametrize("recipe", [n for n in registry.offers("recipes") if "inception-gan" in n])
def test_the_papers_recipes_run(cli: Cli, crops: Crops, tmp_path: Path, recipe: str) -> None:
    crops(tmp_path / "photos", 4, 32)
    widths = ["--set", "generator.width=0.05", "--set", "data.size=32"]
    if "pixel" not in recipe:
        widths += ["--set", "discriminator.width=0.1"]
    status, _, _ = cli(
        *("train", recipe, "--data", tmp_path / "photos", *widths, "--out", "run"),
        *("--steps", 2, "--batch-size", 2, "--device", "cpu"),
    )
    assert status == 0
    _, record = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert record["step"] == 2
    assert all(np.isfinite(value) for value in record["losses"].values())
    assert all(value > 0 for value in record["gradient_norms"].values())


def test_a_run_begins_with_a_forecast_that_changes_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srkit.training import cost

    for number in range(6):
        save_image(tmp_path / "photos" / f"{number}.png", colour=40 * number)
    monkeypatch.setattr(cost, "LONG", 0.0)  # every run is long
    start = ("train", "faces-tiny", "--data", tmp_path / "photos", *TINY, "--steps", 20)
    status, _, err = cli(*start, "--out", "forecast")
    assert status == 0, err
    lines = [line for line in err.splitlines() if not line.startswith("decoded")]
    assert re.match(r"about \d+ (s|min) and \d+\.\d GiB for 20 steps; \d+ photos", lines[0])
    assert "--set steps=2 or --set generator.width=2; --plan shows the cost of each" in err
    recipe = Recipe.from_file(Path("forecast") / run_folder.RECIPE)
    srkit.train(recipe, data=tmp_path / "photos", out="plain", device="cpu")  # silent here
    plain, forecast = (Path(run) / checkpoint.MODEL for run in ("plain", "forecast"))
    assert plain.read_bytes() == forecast.read_bytes()


def test_messages_name_options_as_they_are_given() -> None:
    assert errors.option("resume", True) == "resume=True"
    assert errors.option("data", "samples") == "data='samples'"
    assert errors.option("lr_sizes") == "lr_sizes=..."
    with errors.in_shell():
        assert errors.option("resume", True) == "--resume"
        assert errors.option("data", "samples") == "--data samples"
        assert errors.option("lr_sizes") == "--lr-sizes"


def test_the_demo_prints_scores_and_writes_an_image(cli: Cli) -> None:
    status, out, err = cli("demo")
    assert (status, err) == (0, "")
    assert [p.name for p in Path.cwd().iterdir()] == ["srkit-demo.png"]
    shown = Path(__file__).parents[1] / "docs" / "pictures" / "astronaut.png"  # README's
    with Image.open("srkit-demo.png") as image, Image.open(shown) as readme:
        difference = np.abs(np.asarray(image, np.int16) - np.asarray(readme, np.int16))
    assert difference.max() <= 1  # processors round otherwise
    rows = {line.split()[0]: line.split() for line in out.splitlines() if " dB " in line}
    assert rows.keys() == {"bicubic", "faces"}
    psnr = {name: float(row[1]) for name, row in rows.items()}
    assert psnr["faces"] > psnr["bicubic"] + 1
    assert "srkit-demo.png" in out
    assert cli("demo")[0] == 0  # the same again
    save_image(Path("srkit-demo.png"))
    assert cli("demo") == (
        2,
        "",
        "srkit: srkit-demo.png is there already, and another image; move it away\n",
    )


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tr", {"train"}),
        (
            "train faces-",
            {"faces-clean", "faces-crisp", "faces-identity", "faces-tiny", "faces-x8"},
        ),
        ("upscale a.png --ens", {"--ensemble"}),
        ("upscale --model lan", {"lanczos"}),
        ("export --fo", {"--force"}),  # a plugin's
        ("plugins che", {"check"}),
    ],
)
def test_a_shell_completes_verbs_options_and_names(
    typed: str, completed: set[str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_SRKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"srkit {typed}")
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split())))
    status, out, err = cli()
    assert (status, err) == (0, "")
    assert set(out.split()) == completed


def test_the_script_of_a_shell_can_be_had(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' own may be another, or none.
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: ("bash", "/bin/bash"))
    status, out, _ = cli("--show-completion")
    assert status == 0
    assert "complete -o default -F _srkit_completion srkit" in out


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("srkit.registry.offers", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["list", "generators"])


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(KeyboardInterrupt, 130, "interrupted"), (MemoryError, 2, "not enough memory: for this")],
)
def test_an_interrupt_and_a_lack_of_memory_are_said(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, error: type[BaseException], status: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("srkit.registry.offers", fail)
    assert cli("list", "losses") == (status, "", f"srkit: {said}\n")


def test_an_interrupt_that_tears_an_import_is_said(
    monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    def torn(*_: object, **__: object) -> None:
        with suppress(KeyboardInterrupt):  # as torch's imports do
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        raise InputError("module 'torch._dynamo' has no attribute 'exc'")

    monkeypatch.setattr("srkit.registry.offers", torn)
    assert cli("list", "losses") == (130, "", "srkit: interrupted\n")
