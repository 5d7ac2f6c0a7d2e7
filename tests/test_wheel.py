"""The wheel is whole: installed elsewhere, it works, and a stranger's plugin works with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import srkit

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
# Only what the test gives: no index, no build environment of its own, nothing of the user's.
OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")

Crops = Callable[[Path, int, int], list[Path]]
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    left_out = {"PYTHONPATH", "PYTHONHOME", "SRKIT_PLUGINS", "SRKIT_STRICT", "SRKIT_DATA"}
    kept = {key: value for key, value in os.environ.items() if key not in left_out}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "COLUMNS": "200"}


def checked(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def copied(folder: Path) -> Path:
    """Copy the checkout without what git ignores, so that nothing is built in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        return folder
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = copied(tmp_path_factory.mktemp("tree"))
    out = tmp_path_factory.mktemp("wheel")
    checked(*PIP, "wheel", *OFFLINE, "-w", out, tree, cwd=tree)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def small_env(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and a third-party plugin; it borrows all else from ours."""
    folder = tmp_path_factory.mktemp("env") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    # A path within a .pth file is searched after the environment's own packages, and the .pth
    # files there (our editable install's) are not read.
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(checked(python(folder), "-c", ask, cwd=folder).stdout.strip())
    own = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(own)) + "\n")
    source = folder.parent / "srkit-espcn"
    ignored = shutil.ignore_patterns("__pycache__", "dist", "*.egg-info")
    shutil.copytree(ROOT / "docs" / "examples" / "srkit-espcn", source, ignore=ignored)
    install = ("install", *OFFLINE, "--ignore-installed", wheel, source)
    checked(*PIP, "--python", python(folder), *install, cwd=folder)
    return folder


def python(env: Path) -> Path:
    return env / ("Scripts" if os.name == "nt" else "bin") / "python"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def run(small_env: Path, here: Path) -> Run:
    """Run the environment's own ``srkit`` in a folder far from the checkout, no plugin with it."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = (python(small_env).parent / "srkit", *arguments)
        return checked(*command, cwd=here, SRKIT_PLUGINS="")  # that one imports torch

    return call


@pytest.fixture(scope="module")
def contents(wheel: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel) as opened:
        yield opened


def test_the_wheel_holds_every_module_and_nothing_else(contents: zipfile.ZipFile) -> None:
    names = set(contents.namelist())
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "srkit").rglob("*.py")}
    expected |= {
        str(path.relative_to(ROOT / "plugins")) for path in (ROOT / "plugins").rglob("*.py")
    }
    assert expected <= names
    assert "srkit/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"srkit", *PLUGINS, f"srkit-{srkit.__version__}.dist-info"}
    assert not any("__pycache__" in name or "/test_" in name for name in names)


def test_the_wheel_holds_the_weights_their_card_and_their_terms(contents: zipfile.ZipFile) -> None:
    sizes = {info.filename: info.file_size for info in contents.infolist()}
    assert sizes["srkit_faces/weights/faces.safetensors"] > 100_000
    assert sizes["srkit_faces/weights/faces.md"] > 200
    assert sizes["srkit_faces/weights/LICENSE.md"] > 100
    assert any(name.endswith("licenses/LICENSE") for name in sizes)


def test_the_wheel_declares_every_plugin_and_the_command(contents: zipfile.ZipFile) -> None:
    (file,) = (name for name in contents.namelist() if name.endswith("entry_points.txt"))
    text = contents.read(file).decode()
    assert "srkit = srkit.__main__:main" in text
    named = {line.partition(" = ")[2] for line in text.splitlines() if " = srkit_" in line}
    assert {re.split(r"[ .:]", target)[0] for target in named} == set(PLUGINS)
    assert named >= {"srkit_spandrel [community]", "srkit_openvino [openvino]"}


def test_the_installed_commands_work(run: Run) -> None:
    assert run("--version").stdout == f"srkit {srkit.__version__}\n"
    rows = run("plugins").stdout.splitlines()[1:]
    cells = [re.split(r"\s{2,}", row) for row in rows if row.startswith("srkit ")]
    built_in = {target.partition(" ")[0]: state for _, _, _, target, _, state, *_ in cells}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]
    targets = [*points["srkit"].values(), *points["srkit.commands"].values()]
    assert built_in == {target.partition(" ")[0]: "ok" for target in targets}


def test_the_demo_works_and_a_third_party_plugin_trains_upscales_and_benches_by_name(
    small_env: Path, here: Path, crops: Crops
) -> None:
    crops(here / "photos", 12, 64)
    Image.new("RGB", (20, 15), (200, 150, 100)).save(here / "face.png")
    commands = (
        "demo",
        "list generators",
        "train espcn --data photos --steps 4 --batch-size 4 --device cpu",
        "upscale face.png --model espcn --device cpu",
        "bench espcn --data photos --limit 3 --device cpu",
    )
    # One process, since each would import torch.
    code = f"""
from pathlib import Path
import srkit, srkit_faces, srkit_inception_gan, srkit_kornia
from srkit.cli import main
for module in (srkit, srkit_faces, srkit_inception_gan, srkit_kornia):
    assert Path(module.__file__).is_relative_to({str(small_env)!r}), module
for command in {commands}:
    assert main(command.split()) == 0, command
"""
    out = checked(python(small_env), "-c", code, cwd=here).stdout
    demo = out[: out.index("srkit-demo.png")]
    assert "faces" in demo
    assert "dB" in demo
    with Image.open(here / "srkit-demo.png") as image:
        assert image.width > image.height
    row = next(line for line in out.splitlines() if "espcn" in line)
    assert row.split()[-2:] == ["srkit-espcn", "0.1.0"]
    assert (here / "runs" / "espcn" / "model.safetensors").is_file()
    with Image.open(here / "face-x4.png") as image:
        assert image.size == (80, 60)
    table = out[out.index("face-x4.png") :]
    assert "espcn" in table
    assert "bicubic" in table
