"""Winograd's convolutions: the same numbers, whoever computes them and in how many threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import srkit
from srkit import Model, registry
from srkit.inference import winograd
from srkit.inference.model import Settings
from srkit.inference.upscale import prepared

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(
    not winograd._available(), reason="this torch was built without NNPACK, or for other CPUs"
)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 7, 3), (3, 16, 16), (1, 41, 64)])
def test_a_convolution_is_the_direct_one(kernel: int, size: tuple[int, int, int]) -> None:
    conv = nn.Conv2d(32, 20, kernel, padding=kernel // 2)
    count, height, width = size
    x = torch.rand(count, 32, height, width)
    with torch.inference_mode():
        assert torch.allclose(winograd.Convolution(conv)(x), conv(x), atol=5e-5)


def test_a_shuffle_is_torchs() -> None:
    x = torch.rand(2, 36, 5, 7)
    for factor in (2, 3):
        ours, theirs = winograd.PixelShuffle(factor), nn.PixelShuffle(factor)
        assert torch.equal(ours(x), theirs(x))


def test_only_what_gains_is_replaced() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.few = nn.Conv2d(3, 32, 3, padding=1)
            self.right = nn.Conv2d(32, 32, 3, padding=1)
            self.strided = nn.Conv2d(32, 32, 3, padding=1, stride=1, dilation=1, groups=2)
            self.reflecting = nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect")
            self.one = nn.Conv2d(32, 16, 1)
            self.narrow = nn.Conv2d(16, 12, 3, padding=1)
            self.shuffle = nn.PixelShuffle(2)

        def forward(self, x: Tensor) -> Tensor:
            for module in self.children():
                x = module(x)
            return x

    quick = winograd.quick(Mixed().eval())
    assert quick is not None
    replaced = [n for n, m in quick.named_modules() if isinstance(m, winograd.Convolution)]
    assert replaced == ["right"]


def test_a_network_without_such_convolutions_has_no_quick_copy() -> None:
    assert winograd.quick(registry.build("generators", "bicubic", scale=4)) is None


def test_a_copy_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network = registry.build("generators", "inception-residual", scale=4, width=0.25).eval()
    assert winograd.quick(network) is not None
    inner = winograd.Convolution.forward
    monkeypatch.setattr(winograd.Convolution, "forward", lambda s, x: inner(s, x) * 1.1)
    assert winograd.quick(network) is None


@pytest.mark.parametrize("name", ["faces", "inception-residual"])
def test_models_give_the_same_pictures(name: str, threads: int) -> None:
    if name == "faces":
        plain = srkit.load("faces", device="cpu").generator
    else:
        plain = registry.build("generators", name, scale=4, width=0.25).eval()
    model = prepared(Model(name, plain, 4), CPU)
    assert model.quick is not None
    random = np.random.default_rng(0)
    for shape in ((16, 16), (70, 33)):
        pixels = [random.integers(0, 256, (*shape, 3), np.uint8) for _ in range(5)]
        stack = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
        with torch.inference_mode():
            expected = plain(stack).clamp(0, 1)
        for tile in (32, 200):
            sr = model.enlarge(stack, settings=Settings(tile=tile))
            assert (sr - expected).abs().max() < 5e-5
        made = model.upscale(pixels)
        levels = np.stack(made).astype(int) - (expected * 255).round().permute(0, 2, 3, 1).numpy()
        assert np.abs(levels).max() <= 1
        assert (levels != 0).mean() < 1e-3


def test_work_is_shared_in_order_and_never_far_ahead() -> None:
    begun: list[int] = []
    names: set[str] = set()

    def work(number: int) -> Tensor:
        begun.append(number)
        names.add(threading.current_thread().name)
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
        time.sleep(0.01 * (3 - number % 3))
        return torch.tensor(number)

    before = torch.get_num_threads()
    seen = []
    for value in winograd.in_parallel(work, range(12), 3):
        seen.append(int(value))
        assert len(begun) <= len(seen) + 4
    assert seen == list(range(12))
    assert len(names) == 3
    assert torch.get_num_threads() == before


def test_an_error_in_a_thread_arrives_and_nothing_goes_on() -> None:
    begun: list[int] = []

    def work(number: int) -> Tensor:
        begun.append(number)
        if number == 2:
            raise torch.OutOfMemoryError("no memory")
        return torch.tensor(number)

    with pytest.raises(torch.OutOfMemoryError):
        list(winograd.in_parallel(work, range(100), 2))
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count < 10
