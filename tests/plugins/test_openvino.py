"""OpenVINO gives what torch gives, in the precision asked for, or says in one line why it can't."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor, nn

from srkit import InputError, Model, load, registry
from srkit.errors import OptionError
from srkit.inference.engines import prepared

# OpenVINO's threads don't survive a fork, and other tests fork.
pytestmark = [
    pytest.mark.own_process,
    pytest.mark.skipif(find_spec("openvino") is None, reason="needs srkit[openvino]"),
]

HALF_A_LEVEL = 0.5 / 255
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[60:101, 190:257])


@pytest.mark.parametrize("name", ["faces", "lanczos"])
def test_it_gives_what_torch_gives(name: str, pixels: np.ndarray) -> None:
    ours, theirs = load(name, device="cpu"), load(name, engine="openvino")
    assert type(theirs.run).__name__ == "_Network"
    for size in ((1, 3, 1, 1), (3, 3, 7, 10), (2, 3, 13, 9), (1, 3, 33, 16)):
        lr = torch.rand(size)
        assert (theirs.upscale(lr) - ours.upscale(lr)).abs().max() < HALF_A_LEVEL
    lr = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    difference = theirs.upscale(lr, tile=24) - ours.upscale(lr)  # the tiles of both are exact
    assert difference.abs().max() < HALF_A_LEVEL


def test_bfloat16_only_where_it_is_asked_for(pixels: np.ndarray) -> None:
    exact = load("faces", device="cpu").upscale(pixels).astype(int)
    single = load("faces", engine="openvino").upscale(pixels)
    assert np.abs(single - exact).max() <= 1  # where the value is between two levels
    if not registry.build("engines", "openvino").cpu_precisions:
        pytest.skip("this CPU has no bfloat16")
    half = load("faces", engine="openvino", precision="bf16")
    difference = np.abs(half.upscale(pixels) - exact)
    assert 0 < difference.mean() < 0.5
    assert difference.max() <= 8
    tensor = half.upscale(torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), half.upscale(pixels))
    deep = pixels.astype(np.uint16) * 257
    levels = np.abs(half.upscale(deep).astype(int) / 257 - exact)
    assert levels.max() < 0.51  # 16 bits are computed in float32


OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in ("faces", "faces-clean")]


@pytest.mark.parametrize("name", ["faces-x8", *OTHERS])
def test_its_own_reader_reads_our_files_right(name: str, tmp_path: Path) -> None:
    """An antialiased Resize, as the exporter writes bicubic, was read otherwise: 19 of 255 off."""
    model = load(name, device="cpu")
    network = openvino.Core().read_model(io.BytesIO(model.onnx()))
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    lr = np.random.default_rng(0).random((1, 3, 13, 22), np.float32)
    with torch.no_grad():
        expected = model.generator(torch.from_numpy(lr)).numpy()
    assert np.abs(compiled(lr)[0] - expected).max() < 1e-4


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_precisions_the_cpu_has_not(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    from srkit_openvino.engine import openvino

    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Core)
    with pytest.raises(OptionError, match="engine 'openvino' computes in fp32 on this CPU"):
        load("lanczos", engine="openvino", precision=precision)


def test_precision_and_threads_are_always_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("lanczos", engine="openvino")
    core = model.run.core  # type: ignore[union-attr]
    stated = []

    class Core:
        def compile_model(self, network: Any, device: str, config: dict[str, Any]) -> Any:
            stated.append((config["INFERENCE_PRECISION_HINT"], config["INFERENCE_NUM_THREADS"]))
            return core.compile_model(network, device, config)

    monkeypatch.setattr(model.run, "core", Core())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for _ in range(2):  # the second image needs nothing new
        model.upscale(torch.rand(1, 3, 9, 9))
    model.limits.precision = "bf16"
    model.upscale(np.zeros((9, 9, 3), np.uint8))
    assert stated == [("f32", 2), ("bf16", 2)]


class Fixed(nn.Module):
    """Weighs by a number that depends on the image's size, which tracing makes a constant."""

    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2) / float(int(lr.shape[-1]))


class Failing(nn.Module):
    """Takes no image."""

    def forward(self, lr: Tensor) -> Tensor:
        raise ValueError("no\nimage")


@pytest.mark.parametrize(
    ("generator", "why"),
    [
        pytest.param(Fixed(), "fixed to one size", marks=pytest.mark.long),
        (Failing(), "no image"),
    ],
)
def test_what_can_not_be_converted_is_run_by_torch_and_said(generator: nn.Module, why: str) -> None:
    model = prepared(Model("some", generator, 4), engine="openvino")
    assert model.choice
    assert model.choice.engine == "torch"
    (note,) = model.limits.notes
    assert re.search(rf"'some'.*{why}.*; torch runs it$", note)
    assert "\n" not in note


def test_lack_of_memory_is_recognised() -> None:
    class Full:
        def __call__(self, lr: np.ndarray) -> None:
            raise RuntimeError("std::bad_alloc")

    model = load("lanczos", engine="openvino")
    model.run.compiled = {("f32", torch.get_num_threads()): Full()}  # type: ignore[union-attr]
    with pytest.raises(InputError, match="not enough memory on cpu"):
        model.upscale(torch.rand(1, 3, 8, 8))


def test_the_command_line_takes_it(tmp_path: Path, cli: Cli, pixels: np.ndarray) -> None:
    file = tmp_path / "small.png"
    Image.fromarray(pixels).save(file)
    results = []
    for engine in ("torch", "openvino"):
        out = tmp_path / f"{engine}.png"
        options = ("--out", out, "--engine", engine, "--model", "lanczos")
        status, _, err = cli("upscale", file, *options)
        assert (status, err) == (0, "")
        results.append(np.asarray(Image.open(out)).astype(int))
    assert np.abs(results[0] - results[1]).max() <= 1
