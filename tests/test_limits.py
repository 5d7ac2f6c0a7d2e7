"""What a model does where memory is short, precision too coarse, or the answer no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srkit import InputError, Model, registry
from srkit.errors import OptionError
from srkit.inference import consistency, memory
from srkit.inference.folding import folded
from srkit.inference.model import LEAST_TILE, Settings
from srkit.inference.tiling import BLEND
from srkit.inference.upscale import prepared

CPU = torch.device("cpu")


class Nearest(nn.Module):
    """Repeats pixels."""

    receptive_radius = 0

    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


class Small(Nearest):
    """Has room for so many pixels."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.asked = room, list[int]()

    def forward(self, lr: Tensor) -> Tensor:
        area = lr.shape[-1] * lr.shape[-2]
        self.asked.append(area)
        if area > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return super().forward(lr)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_out_of_memory_halves_the_tile_and_remembers_it() -> None:
    generator = Small(40 * 40)
    model = Model("small", generator, 4)
    pixels = picture(150, 130)
    sr = model.enlarge_pixels(pixels, Settings(tile=128))
    assert np.array_equal(sr, pixels.repeat(4, 0).repeat(4, 1))
    assert model.limits.tile <= 32
    assert len(model.limits.notes) >= 1
    assert "out of memory on cpu; going on with tiles of" in model.limits.notes[0]
    before = len(generator.asked)
    model.enlarge_pixels(pixels, Settings(tile=128))
    assert max(generator.asked[before:]) <= 40 * 40  # what was too much is not tried again


def test_out_of_memory_with_the_smallest_tile_is_one_clear_line() -> None:
    model = Model("small", Small(10), 4)
    with pytest.raises(InputError, match="not enough memory on cpu, even with small tiles"):
        model.enlarge_pixels(picture(90, 90))
    assert model.limits.tile == LEAST_TILE


def test_another_error_is_no_lack_of_memory() -> None:
    class Broken(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            raise RuntimeError("size of tensor a must match")

    with pytest.raises(RuntimeError, match="must match"):
        Model("broken", Broken(), 4).enlarge_pixels(picture(8, 8))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            ),
            True,
        ),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shape"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert memory.ran_out(error) is expected


def test_torch_really_raises_what_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.ran_out(raised.value)


class Coarse(Nearest):
    """Leaves the range of half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.halves = 0

    def forward(self, lr: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            self.halves += 1
            return super().forward(lr) * torch.inf
        return super().forward(lr)


def test_an_answer_beyond_half_precision_is_computed_again_in_float32() -> None:
    generator = Coarse()
    model = Model("coarse", generator, 4)
    model.limits.dtype = torch.bfloat16
    pixels = picture(60, 40)
    for _ in range(2):
        sr = model.enlarge_pixels(pixels, Settings(tile=16))
        assert np.array_equal(sr, pixels.repeat(4, 0).repeat(4, 1))
    assert generator.halves == 1  # one tile, and never again
    assert model.limits.dtype == torch.float32
    assert model.limits.notes == [
        "model 'coarse' leaves the range of bfloat16; computing in float32 from here on"
    ]


def test_sixteen_bits_and_tensors_never_go_through_half_precision() -> None:
    generator = Coarse()
    model = Model("coarse", generator, 4)
    model.limits.dtype = torch.bfloat16
    model.enlarge_pixels(picture(20, 20).astype(np.uint16) * 257)
    model.enlarge(torch.rand(1, 3, 8, 8))
    assert generator.halves == 0


def test_an_answer_that_is_not_finite_is_no_result() -> None:
    class Holed(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            sr = super().forward(lr).clone()
            sr[..., -1, -1] = torch.nan
            return sr

    with pytest.raises(InputError, match="values that are not finite"):
        Model("holed", Holed(), 4).enlarge_pixels(picture(70, 70), Settings(tile=32))


def test_half_precision_on_a_cpu_is_refused() -> None:
    for precision in ("fp16", "bf16"):
        with pytest.raises(OptionError, match="is for GPUs"):
            prepared(Model("x", Nearest(), 4), CPU, precision)
    with pytest.raises(OptionError, match="precision is one of"):
        prepared(Model("x", Nearest(), 4), CPU, "fp8")
    assert prepared(Model("x", Nearest(), 4), CPU).limits.dtype == torch.float32


def test_progress_adds_up_to_the_picture() -> None:
    told: list[int] = []
    Model("n", Nearest(), 4).enlarge_pixels(picture(101, 67), Settings(tile=24), told.append)
    assert len(told) > 10
    assert sum(told) == 101 * 67
    assert min(told) >= 0
    told.clear()
    Model("small", Small(40 * 40), 4).enlarge_pixels(
        picture(101, 67), Settings(tile=64), told.append
    )
    assert sum(told) == 101 * 67


def test_beside_the_result_only_seams_are_held() -> None:
    from srkit.inference import tiling

    alive: list[int] = []

    rows = columns = tiling.spans(400, 64, 0)
    sides = [4 * (span.read.stop - span.read.start) for span in rows]
    answers = (torch.zeros(1, 3, height, width) for height in sides for width in sides)
    covered = torch.zeros(1600, 1600)
    for y, x, part in tiling.parts(answers, rows, columns, 4):
        covered[y, x] += 1
        alive.append(part.numel())
    assert (covered == 1).all()
    assert max(alive) <= 3 * (4 * (64 + 2 * BLEND)) ** 2


# --- folding ------------------------------------------------------------------------------------


def settled(network: nn.Module) -> nn.Module:
    """Give batch normalisation the statistics of some training."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr, operator]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
                module.weight.uniform_(0.5, 2)
                module.bias.normal_(0, 0.2)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_batch_normalisation_of_the_papers_generator_is_folded_away() -> None:
    network = settled(registry.build("generators", "inception-residual", scale=4, width=0.1))
    quick = folded(network)
    assert norms(network) == 10
    assert norms(quick) == 0
    lr = torch.rand(2, 3, 13, 9)
    assert torch.allclose(network(lr), quick(lr), atol=1e-5)


def test_what_is_read_elsewhere_too_is_not_folded() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    network = settled(Shared())
    assert folded(network) is network


def test_a_network_that_cannot_be_traced_is_folded_in_its_sequences() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            self.tail = nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            if x.mean() > 0:
                x = self.body(x)
            return self.tail(x)

    network = settled(Branching())
    quick = folded(network)
    assert norms(quick) == 0
    lr = torch.rand(1, 3, 7, 8)
    assert torch.allclose(network(lr), quick(lr), atol=1e-5)


def test_a_network_without_batch_normalisation_stays_itself() -> None:
    network = registry.build("generators", "face-residual", width=8, blocks=1)
    assert folded(network) is network


# --- consistency and ensembles ------------------------------------------------------------------


def reduced(sr: Tensor) -> Tensor:
    size = (sr.shape[-2] // 4, sr.shape[-1] // 4)
    return nn.functional.interpolate(sr, size=size, mode="bicubic", antialias=True)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 29), (64, 5)])
def test_a_projected_result_gives_the_input_back(size: tuple[int, int]) -> None:
    lr = torch.rand(2, 3, *size) * 0.5 + 0.25
    sr = torch.rand(2, 3, size[0] * 4, size[1] * 4) * 0.1 + 0.45  # far from it
    assert (reduced(sr) - lr).abs().max() > 0.1 or size == (1, 1)
    projected = consistency.project(sr, lr, 4)
    assert (reduced(projected) - lr).abs().mean() < 1e-3
    assert projected.min() >= 0
    assert projected.max() <= 1


def test_a_consistent_result_is_left_alone() -> None:
    sr = torch.rand(1, 3, 48, 64)
    assert torch.allclose(consistency.project(sr, reduced(sr), 4), sr, atol=1e-5)


def test_projected_tiles_are_the_projected_whole() -> None:
    model = Model("lanczos", registry.build("generators", "lanczos", scale=4), 4)
    lr = torch.rand(1, 3, 90, 110)
    how = Settings(consistent=True)
    whole, tiled = model.enlarge(lr, settings=how), model.enlarge(lr, tile=24, settings=how)
    assert (whole - tiled).abs().max() < 1e-4
    assert (reduced(whole) - lr).abs().mean() < (reduced(model.enlarge(lr)) - lr).abs().mean() / 3


def test_a_shift_of_colour_is_removed() -> None:
    class Reddish(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            return super().forward(lr) + torch.tensor([0.08, 0, 0])[:, None, None]

    model = Model("reddish", Reddish(), 4)
    pixels = picture(30, 30) // 2 + 50
    plain, right = (model.enlarge_pixels(pixels, Settings(consistent=c)) for c in (False, True))
    assert consistency.residual(plain, pixels) > 5
    assert consistency.residual(right, pixels) < 1.5
    shift = right.mean((0, 1)) - pixels.mean((0, 1))
    assert np.abs(shift).max() < 0.5 < plain.mean((0, 1))[0] - pixels.mean((0, 1))[0]


def test_the_residual_is_in_255ths_at_any_depth() -> None:
    lr = picture(9, 7)
    sr = np.clip(lr.repeat(4, 0).repeat(4, 1).astype(int) + 10, 0, 255).astype(np.uint8)
    deep = consistency.residual(sr.astype(np.uint16) * 257, lr.astype(np.uint16) * 257)
    assert deep == pytest.approx(consistency.residual(sr, lr), rel=1e-4)
    flat = np.full((8, 8, 3), 100, np.uint8)
    assert consistency.residual(np.full((32, 32, 3), 103, np.uint8), flat) == pytest.approx(3)


def test_an_ensemble_turns_with_the_picture() -> None:
    torch.manual_seed(1)
    network = registry.build("generators", "face-residual", width=8, blocks=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.2)
    model = Model("turning", network.eval(), 4)
    lr, how = torch.rand(1, 3, 12, 17), Settings(ensemble=True)
    sr = model.enlarge(lr, settings=how)
    assert (sr - model.enlarge(lr)).abs().max() > 1e-3
    for turn in range(4):
        turned = model.enlarge(lr.rot90(turn, (-2, -1)), settings=how)
        assert torch.allclose(turned.rot90(-turn, (-2, -1)), sr, atol=1e-5)
    assert torch.allclose(model.enlarge(lr.mT, settings=how).mT, sr, atol=1e-5)


def test_an_ensemble_of_interpolation_is_interpolation() -> None:
    model = Model("bicubic", registry.build("generators", "bicubic", scale=4), 4)
    lr = torch.rand(1, 3, 9, 14)
    sr = model.enlarge(lr, settings=Settings(ensemble=True))
    assert torch.allclose(sr, model.enlarge(lr), atol=1e-5)
