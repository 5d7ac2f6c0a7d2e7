"""Parts without a distribution: `srkit.register`, ``SRKIT_PLUGINS_DIR``, ``--plugin``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, forget_plugins
from torch import nn

import srkit
from srkit import plugins, registry
from srkit.errors import NameClashError, OptionError, RecipeError, UnknownNameError

PLUGIN = '''
import srkit
from torch import nn


class Shuffle(nn.Sequential):
    """A convolution and a pixel shuffle."""

    receptive_radius = 1

    def __init__(self, *, scale: int = 4) -> None:
        super().__init__(nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))


@srkit.hookimpl
def srkit_generators():
    return {"shuffle": Shuffle}
'''


class Net(nn.Sequential):
    """A network of a notebook."""

    receptive_radius = 1

    def __init__(self, *, scale: int = 4, bias: bool = True) -> None:
        super().__init__(
            nn.Conv2d(3, 3 * scale**2, 3, padding=1, bias=bias), nn.PixelShuffle(scale)
        )


@pytest.fixture(autouse=True)
def _left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("SRKIT_PLUGINS_DIR", "")
    modules = set(sys.modules)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]
    registry._registered.clear()
    forget_plugins()


# --- a notebook ---------------------------------------------------------------------------------


def test_a_registered_network_trains_and_loads_by_name(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    srkit.register("generator", "mine", Net)
    recipe = registry.build("recipes", "faces-tiny").changed(
        {"generator.name": "mine", "generator.bias": False, "data.size": 32, "steps": 2}
    )
    run(recipe)
    model = srkit.load(tmp_path / "run", device="cpu")
    assert isinstance(model.generator, Net)
    assert model.metadata["provider"] == "session 0"


def test_a_later_registration_replaces_the_first() -> None:
    srkit.register("loss", "mine", nn.L1Loss)
    srkit.register("losses", "mine", nn.MSELoss)
    assert registry.find("losses", "mine") is nn.MSELoss
    assert registry.offer("losses", "mine").plugin == registry.SESSION


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (("generater", "mine", Net), UnknownNameError, "did you mean 'generators'"),
        (("generator", "bicubic", Net), NameClashError, "'bicubic' is srkit's own"),
        (("generator", "mine", Net()), OptionError, "wants what builds the network: its class"),
        (("generator", "mine", 5), OptionError, "wants a name and a class or function"),
        (("generator", "mine\n", Net), OptionError, "wants a name and a class or function"),
        (("generator", Net, "mine"), OptionError, "wants a name and a class or function"),
    ],
)
def test_what_cannot_be_registered(
    arguments: tuple[Any, Any, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        srkit.register(*arguments)


def test_a_class_in_place_of_a_name_says_what_to_do() -> None:
    with pytest.raises(RecipeError) as raised:
        srkit.Part.of(Net)  # type: ignore[arg-type]
    assert "srkit.register('generator', 'net', Net)" in str(raised.value)
    assert "Part.of('net')" in str(raised.value)


# --- a file -------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "parts" / "my_shuffle.py"
    file.parent.mkdir()
    file.write_text(PLUGIN)
    return file


def test_a_folder_of_files(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "_helper.py").write_text("raise RuntimeError('imported')")
    (file.parent / "my_broken.py").write_text("def broken(:")
    monkeypatch.setenv("SRKIT_PLUGINS_DIR", str(file.parent))
    forget_plugins()
    assert type(registry.build_scaled("generators", "shuffle", 2, {})).__name__ == "Shuffle"
    name, version = registry.provenance("generators", "shuffle").split()
    assert (name, len(version)) == ("my_shuffle.py", 8)
    (line,) = capsys.readouterr().err.splitlines()
    assert "plugin my_broken.py " in line
    assert "SyntaxError" in line


def test_built_ins_only_leaves_files_out(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRKIT_PLUGINS_DIR", str(file))
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    forget_plugins()
    assert "shuffle" not in registry.offers("generators")
    (state,) = [p.state for p in plugins.load().plugins if p.distribution == file.name]
    assert state == "off"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_option_for_any_command(
    file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    words = ["list", "generators"]
    words[place:place] = [f"--plugin={file}"] if place == 1 else ["--plugin", str(file)]
    status, out, err = cli(*words)
    assert (status, err) == (0, "")
    assert "my_shuffle.py" in out
    assert str(file) in os.environ["SRKIT_PLUGINS_DIR"]  # for processes that this one starts


@pytest.mark.parametrize("name", ["", "none.py", "a-b.py", "folder"])
def test_a_file_that_is_none_is_refused(
    refused: Callable[..., str], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-b.py").write_text("")
    (tmp_path / "folder").mkdir()
    expected = "no such file" if name in ("none.py", "folder") else "a plugin is a file NAME.py"
    assert expected in refused("list", "--plugin", *filter(None, [name]))


def test_a_file_named_as_another_module_is_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = file.rename(file.with_name("kornia.py"))
    monkeypatch.setenv("SRKIT_PLUGINS_DIR", os.pathsep.join([str(other), "/no/such_file.py"]))
    forget_plugins()
    assert "shuffle" not in registry.offers("generators")
    text = capsys.readouterr().err
    assert "another module has this name; rename kornia.py" in text
    assert "FileNotFoundError" in text
