"""A newcomer's quarter of an hour: a new environment, the wheel, a plugin of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from srkit import registry
from srkit.hookspecs import kinds

ROOT = Path(__file__).resolve().parents[1]
Crops = Callable[[Path, int, int], list[Path]]
MINUTES = 15  # reported, not required: what pip has to load isn't srkit's

pytestmark = pytest.mark.long


def checked(*command: object, cwd: Path) -> str:
    """Run a command in an environment that knows nothing of this checkout; return its output."""
    left_out = ("PYTHON", "SRKIT_", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, by pip as its users would."""
    folder = tmp_path_factory.mktemp("newcomer")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(".*_cache", ".git", "__pycache__", "*.egg-info", "runs")
    shutil.copytree(ROOT, tree, ignore=ignored)
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    wheels = ("wheel", "--no-deps", "--no-build-isolation", "-w", folder, tree)
    checked(sys.executable, *pip, *wheels, cwd=folder)
    (wheel,) = folder.glob("srkit-*.whl")
    shutil.rmtree(tree)
    checked(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    checked(python, *pip, "install", f"{wheel}[onnx]", cwd=folder)
    return python.parent


def test_a_plugin_from_nothing_to_onnx(env: Path, tmp_path: Path, crops: Crops) -> None:
    start = time.perf_counter()
    crops(tmp_path / "photos", 8, 64)
    Image.new("RGB", (20, 15), (200, 150, 100)).save(tmp_path / "face.png")

    def srkit(*words: object) -> str:
        return checked(env / "srkit", *words, cwd=tmp_path)

    srkit("plugins", "new", "srkit-mine")
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    checked(env / "python", *pip, "-e", "srkit-mine[test]", cwd=tmp_path)
    checked(env / "python", "-m", "pytest", "-q", cwd=tmp_path / "srkit-mine")
    report = srkit("plugins", "check", "srkit-mine")
    assert "2 ok, 0 failed, 0 skipped" in report
    srkit("train", "mine", "--data", "samples", "--steps", 50, "--device", "cpu")
    srkit("upscale", "face.png", "--model", "mine", "--device", "cpu")
    with Image.open(tmp_path / "face-x4.png") as image:
        assert image.size == (80, 60)
    assert "mine" in srkit("bench", "mine", "--data", "photos", "--limit", 3, "--device", "cpu")
    srkit("export", "mine", "--out", "mine.onnx")
    assert (tmp_path / "mine.onnx").stat().st_size > 10_000
    print(f"{(time.perf_counter() - start) / 60:.1f} of {MINUTES} minutes")


@pytest.mark.parametrize("kind", [*map(registry.singular, kinds()), "command"])
def test_every_kind_installs_and_passes_its_own_tests(env: Path, tmp_path: Path, kind: str) -> None:
    checked(env / "srkit", "plugins", "new", "srkit-my-own", "--kind", kind, cwd=tmp_path)
    folder = tmp_path / "srkit-my-own"
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    checked(env / "python", *pip, "install", "-e", ".[test]", cwd=folder)
    try:
        checked(env / "python", "-W", "error", "-m", "pytest", "-q", cwd=folder)
        checked(env / "srkit", "plugins", "check", "srkit-my-own", cwd=folder)
    finally:
        checked(env / "python", *pip, "uninstall", "--yes", "srkit-my-own", cwd=folder)
