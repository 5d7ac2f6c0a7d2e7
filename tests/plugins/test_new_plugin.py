"""``srkit plugins``: a new plugin works as it is written, a check finds what is broken."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, forget_plugins
from PIL import Image
from srkit_plugins import contracts
from srkit_plugins.new import names_of

import srkit
from srkit import InputError, registry
from srkit.hookspecs import kinds

Install = Callable[..., Path]
KINDS = [registry.singular(kind) for kind in kinds()]


@pytest.fixture
def create(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Create a plugin; install it for this test."""
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)

    def call(name: str, kind: str) -> Path:
        status, out, err = cli("plugins", "new", name, "--kind", kind)
        assert (status, err) == (0, "")
        folder = tmp_path / name
        assert all(Path(line).is_file() for line in out.split("\n\n")[0].splitlines())
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = folder / f"{project['name'].replace('-', '_')}-0.1.0.dist-info"
        info.mkdir()
        lines = [f"Name: {project['name']}", "Version: 0.1.0"]
        lines += [f"Requires-Dist: {each}" for each in project["dependencies"]]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        groups = [
            "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in points.items())])
            for group, points in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(groups) + "\n")
        monkeypatch.syspath_prepend(str(folder))
        forget_plugins()
        return folder

    yield call
    for name in set(sys.modules) - modules:
        if name.startswith("srkit_my"):
            del sys.modules[name]
    forget_plugins()


@pytest.mark.parametrize("kind", [*KINDS, "command"])
def test_every_kind_is_written_whole_and_keeps_its_promises(
    create: Callable[..., Path], cli: Cli, kind: str
) -> None:
    folder = create("srkit-my-own", kind)
    files = [f for f in folder.rglob("*") if f.is_file() and "dist-info" not in f.parent.name]
    names = {str(file.relative_to(folder)) for file in files}
    assert {"README.md", "pyproject.toml", ".github/workflows/test.yml"} <= names
    assert any(name.startswith("tests/test_") for name in names)
    for file in files:
        text = file.read_text()
        assert "<<" not in text
        assert "<%" not in text
        if file.suffix == ".py":
            assert all(len(line) <= 100 for line in text.splitlines()), file
            assert ast.get_docstring(ast.parse(text)) or file.parent.name == "tests"
    hooks = (folder / "srkit_my_own" / "__init__.py").read_text()
    assert kind == "command" or '"srkit_my_own.' in hooks  # a string, imported when it is used
    version = srkit.__version__.rpartition(".")[0]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["dependencies"][0].startswith(f"srkit>={version},<")
    if kind == "command":
        Image.new("RGB", (5, 7)).save("photo.png")
        assert cli("my-own", "photo.png") == (0, "photo.png  5x7\n", "")
    if kind in ("generator", "report"):  # as those of the page: tests/test_docs.py
        return
    status, out, err = cli("plugins", "check", "srkit-my-own")
    assert (status, err) == (0, "")
    name = "my-own:" if kind == "source" else "my-own"
    assert kind == "command" or out.startswith(f"ok       {kind} {name}")


@pytest.mark.parametrize(
    ("asked", "distribution", "module", "class_name"),
    [
        ("srkit-my-net", "srkit-my-net", "srkit_my_net", "MyNetLoss"),
        ("My Net!", "my-net", "my_net", "MyNetLoss"),
        ("3D/net", "srkit-3d-net", "srkit_3d_net", "My3DNetLoss"),
        ("Größe_2", "groe-2", "groe_2", "Groe2Loss"),
        ("class", "class", None, ""),
        ("torch", "torch", None, ""),
        ("srkit", "srkit", None, ""),
        ("srkit-l1", "srkit-l1", None, ""),
        ("顔", "", None, ""),
        ("..", "", None, ""),
        ("42", "", None, ""),
        ("x" * 99, "", None, ""),
    ],
)
def test_a_name_is_made_a_modules_or_refused(
    asked: str, distribution: str, module: str | None, class_name: str
) -> None:
    if module is None:
        with pytest.raises(InputError) as raised:
            names_of(asked, "losses")
        assert "\n" not in str(raised.value)
        return
    names = names_of(asked, "losses")
    assert (names.distribution, names.module) == (distribution, module)
    assert names.class_name == class_name
    assert names.class_name.isidentifier()


def test_nothing_is_overwritten(refused: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "srkit-my-own"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert "exists; nothing is overwritten" in refused("plugins", "new", folder)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert "exists; nothing is overwritten" in refused("plugins", "new", tmp_path / "link")
    assert "unknown kind 'los' (did you mean 'losses'?)" in refused(
        "plugins", "new", "srkit-my-own", "--kind", "los"
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "srkit-my-own"]


BAD = '''
import srkit

class Loss:
    """A loss that is never smooth."""
    def __call__(self, sr, hr):
        return (sr - hr).round().sum()

class Metric:
    """A metric that leaves."""
    def __init__(self, *, root: str):
        pass

def face_set(root):
    """A face set of nobody."""
    return []

@srkit.hookimpl
def srkit_losses():
    return {"bad": Loss, "good": "srkit_baselines.losses:L1Loss"}

@srkit.hookimpl
def srkit_metrics():
    return {"rooted": Metric}

@srkit.hookimpl
def srkit_face_sets():
    return {"nobody": face_set}
'''


def test_a_check_names_what_is_broken_and_its_status_tells(
    fake_distribution: Install, cli: Cli
) -> None:
    fake_distribution("srkit-bad", {"bad_plugin": BAD})
    status, out, err = cli("plugins", "check", "srkit-bad")
    assert (status, err) == (1, "")
    *lines, total = out.splitlines()
    nobody, bad, good, rooted = sorted(lines, key=lambda line: line.split()[1])
    assert nobody == "failed   face set nobody: a folder without people raises srkit.InputError"
    assert bad == "failed   loss bad: the gradient at sr is zero"
    assert good.startswith("ok       loss good")
    assert rooted == "skipped  metric rooted: it needs option 'root'"
    assert total == "1 ok, 2 failed, 1 skipped"


@pytest.mark.parametrize("source", ["import no_such_module", BAD.replace("srkit_l", "srkit_x")])
def test_a_check_of_what_does_not_load_fails(
    fake_distribution: Install, cli: Cli, source: str
) -> None:
    fake_distribution("srkit-bad", {"bad_plugin": source})
    status, out, _ = cli("plugins", "check", "srkit-bad")
    assert status == (2 if "no_such" in source else 1)
    assert "plugin srkit-bad 1.0 (srkit-bad): broken: " in out


def test_a_check_of_nobody_names_the_nearest(refused: Callable[..., str]) -> None:
    assert "no plugin 'metric' (did you mean 'metrics'?)" in refused("plugins", "check", "metric")


@pytest.mark.parametrize("name", ["hf", "webdataset", "prepare"])  # others: test_contracts.py
def test_built_ins_keep_their_promises(cli: Cli, name: str) -> None:
    status, out, _ = cli("plugins", "check", name)
    assert status == 0, out


def test_a_reader_that_executes_a_pickle_is_caught(
    fake_distribution: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    def read(file: Path) -> Any:
        """Unpickle anything."""
        try:
            pickle.loads(file.read_bytes())
        except Exception:
            return None

    registry.register("reader", "trusting", read)
    try:
        with pytest.raises(AssertionError, match="it executes a pickle"):
            contracts.check("readers", "trusting")
    finally:
        registry._registered.clear()
        forget_plugins()
