"""Exported files: the same images as torch, of any size; refused where they would not be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from srkit_onnx import conversion, export
from srkit_onnx.conversion import TOLERANCE
from srkit_onnx.export import described
from srkit_plugins.contracts import small as options_of
from torch import Tensor, nn
from training import tiny

import srkit
from srkit import InputError, Model, Recipe, registry
from srkit.models import checkpoint
from srkit.models.load import load

Cli = Callable[..., tuple[int, str, str]]
# Other sizes than those that `export` compares; an image of one pixel among them.
SIZES = ((1, 1, 1), (2, 2, 3), (1, 5, 77), (4, 24, 24))


def run(file: Path) -> Callable[[Tensor], Tensor]:
    """Open an exported file with the runtime alone, without srkit."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0])


def small(name: str, scale: int = 4) -> Model:
    """A registered generator, narrow, with random weights everywhere."""
    generator = registry.build_scaled("generators", name, scale, options_of("generators", name))
    with torch.no_grad():
        for weight in generator.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return Model(name, generator.eval(), scale)


@pytest.mark.long
def test_names_need_not_be_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.chdir(tmp_path)
    name, words = os.fsdecode(b"n\xff"), ("--device", "cpu")
    Image.new("RGB", (8, 8), "red").save("a.png")
    model = small("face-residual")
    state = checkpoint.prefixed("generator", model.generator.state_dict())
    recipe = tiny(**{"generator.width": 12, "generator.blocks": 2})
    checkpoint.write(Path(f"{name}.safetensors"), state, recipe, 1)
    assert cli("export", f"{name}.safetensors")[0] == 0
    for suffix in (".safetensors", ".onnx"):
        file = Path(f"{suffix[1:]}.png")
        assert cli("upscale", "a.png", "-o", file, "--model", name + suffix, *words)[0] == 0
        with Image.open(file) as image:
            assert image.size == (32, 32)


# --- the same as torch --------------------------------------------------------------------------


def require_same(file: Path, model: Model) -> None:
    other = run(file)
    with torch.no_grad():
        for batch, height, width in SIZES:
            lr = torch.rand(batch, 3, height, width)
            sr = other(lr)
            assert sr.shape == (batch, 3, 4 * height, 4 * width)
            assert float((sr - model.generator(lr)).abs().max()) < TOLERANCE


@pytest.fixture(scope="module")
def known() -> Model:
    """A small model of which as much is known as of a shipped one."""
    recipe = registry.build("recipes", "faces-tiny")
    plain = small("face-residual")
    return Model("mine", plain.generator, 4, "mit", "ab" * 32, recipe, {"source": "hf://a/b"})


@pytest.fixture(scope="module")
def exported(known: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = srkit.export(known, tmp_path_factory.mktemp("export") / "mine.onnx")
    assert done.difference <= TOLERANCE
    return done.file


def test_a_file_gives_what_torch_gives(exported: Path, known: Model) -> None:
    require_same(exported, known)


@pytest.mark.long
@pytest.mark.parametrize("name", registry.offers("generators"))
def test_every_generator_exports_and_gives_the_same(name: str, tmp_path: Path) -> None:
    model = small(name)
    files = [export.export(model, tmp_path / name).file for name in ("a", "b")]
    require_same(files[0], model)
    assert files[0].read_bytes() == files[1].read_bytes()  # equal exports are equal files


@pytest.mark.parametrize("scale", [3, pytest.param(8, marks=pytest.mark.long)])
def test_bicubic_is_pillows_at_the_borders_too(scale: int, tmp_path: Path) -> None:
    model = Model("bicubic", registry.build("generators", "bicubic", scale=scale), scale)
    other = run(export.export(model, tmp_path / "model").file)
    for height, width in ((3, 4), (11, 6)):
        lr = torch.rand(1, 3, height, width)
        # A border whose kernels aren't cut and made up for is off by hundredths.
        assert torch.allclose(other(lr), srkit.bicubic(lr, scale), atol=5e-6)


@pytest.mark.long
def test_the_shipped_model_exports(tmp_path: Path) -> None:
    file = export.export(load("faces", device="cpu"), tmp_path / "faces.onnx").file
    lr = torch.rand(1, 3, 20, 13)
    ours, theirs = (load(model, device="cpu") for model in ("faces", file))
    assert torch.allclose(theirs.upscale(lr), ours.upscale(lr), atol=1e-4)
    assert theirs.recipe == ours.recipe
    assert list(tmp_path.iterdir()) == [file]


def test_a_model_exports_from_the_command_line(
    cli: Cli, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = cli("export", "faces")  # whose graph is shipped
    assert (status, out) == (0, "faces.onnx\n")
    assert err.startswith("srkit: differs from torch by at most ")
    before = Path("faces.onnx").read_bytes()
    assert "faces.onnx is there already; --force" in refused("export", "faces")
    assert cli("export", "faces", "--force")[0] == 0
    assert Path("faces.onnx").read_bytes() == before


# --- what a file says ---------------------------------------------------------------------------


def test_a_file_says_what_is_known_of_the_model(exported: Path, known: Model) -> None:
    props = onnx.load(exported).metadata_props
    metadata = {each.key.removeprefix("srkit."): each.value for each in props}
    assert Recipe.from_toml(metadata.pop("recipe")) == known.recipe
    assert metadata == {
        "version": srkit.__version__,
        "name": "mine",
        "scale": "4",
        "licence": "mit",
        "sha256": "ab" * 32,
        "receptive_radius": str(known.generator.receptive_radius),
        "source": "hf://a/b",
    }
    again = load(exported, device="cpu")
    assert (again.recipe, again.licence) == (known.recipe, "mit")


def test_what_is_not_known_is_left_empty() -> None:
    model = Model("x", nn.Upsample(scale_factor=4), 4, metadata={"source": "hf://a/b"})
    metadata = described(model)
    assert (metadata["receptive_radius"], metadata["sha256"], metadata["recipe"]) == ("", "", "")
    assert metadata["source"] == "hf://a/b"


def test_a_file_tells_nothing_of_the_machine_that_wrote_it(exported: Path) -> None:
    content = exported.read_bytes()
    assert str(Path(__file__).parents[1]).encode() not in content
    assert b".py" not in content


# --- what is refused ----------------------------------------------------------------------------


class Windowed(nn.Module):
    """Cuts an image into as many windows as the size it is first called with has."""

    receptive_radius = None

    def forward(self, lr: Tensor) -> Tensor:
        parts = [part * (1 + number / 8) for number, part in enumerate(lr.split(8, dim=-1))]
        lr = torch.cat(parts, dim=-1)
        return nn.functional.interpolate(lr, scale_factor=2, mode="nearest")


class Untraceable(nn.Module):
    receptive_radius = None

    def forward(self, lr: Tensor) -> Tensor:
        raise RuntimeError("two\nlines of a reason")


@pytest.mark.parametrize("network", [Windowed, Untraceable])
def test_a_network_that_would_not_be_the_same_is_refused(
    network: type[nn.Module], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"'x'.* exported to onnx") as raised:
        export.export(Model("x", network().eval(), 2), tmp_path / "model")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_difference_beyond_the_tolerance_is_refused_and_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = conversion.Session.run

    def wrong(session: conversion.Session, lr: np.ndarray) -> np.ndarray:
        sr = right(session, lr)
        sr[..., -1, -1] += 0.01 if lr.shape[-1] == 33 else 0.0
        return sr

    monkeypatch.setattr(conversion.Session, "run", wrong)
    with pytest.raises(InputError, match=r"differs from torch by 0\.01 \(at most 0\.0001 is"):
        export.export(load("faces", device="cpu"), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_numbers_are_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(session: conversion.Session, lr: np.ndarray) -> np.ndarray:
        return np.full((*lr.shape[:2], lr.shape[2] * 4, lr.shape[3] * 4), np.nan, np.float32)

    monkeypatch.setattr(conversion.Session, "run", undefined)
    with pytest.raises(InputError, match="differs from torch by nan"):
        export.export(load("faces", device="cpu"), tmp_path / "model")


def test_what_is_onnx_already_is_not_exported(exported: Path, tmp_path: Path) -> None:
    model = load(exported, device="cpu")
    with pytest.raises(InputError, match="is an ONNX file already"):
        export.export(model, tmp_path / "again")


def test_nothing_is_written_over(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bicubic.onnx").write_text("mine")
    assert "is there already" in refused("export", "bicubic")
    assert "bicubic.onnx is the model itself" in refused("export", "bicubic.onnx", "--force")
    weights = Path("runs/mine/model.safetensors")
    weights.parent.mkdir(parents=True)
    weights.write_text("of a run")
    for name in ("mine", "runs/mine", weights):
        assert "is the model itself" in refused("export", name, "--out", weights, "--force")
    assert weights.read_text() == "of a run"
    assert "is a folder" in refused("export", "bicubic", "--out", tmp_path, "--force")
    assert "can't write" in refused("export", "bicubic", "--out", "bicubic.onnx/x.onnx")
    assert Path("bicubic.onnx").read_text() == "mine"


@pytest.mark.parametrize(
    ("model", "stem"),
    [
        ("faces", "faces"),
        ("runs/faces-tiny", "faces-tiny"),
        ("some/x4.v2.safetensors", "x4.v2"),
        ("hf://owner/name", "name"),
        ("hf://owner/name/sub/net.pth@v1", "net"),
        (".", "model"),
    ],
)
def test_a_file_is_called_as_the_model_is(model: str, stem: str) -> None:
    from srkit_onnx.command import _stem

    assert _stem(model) == stem
