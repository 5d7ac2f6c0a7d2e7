"""What a model does where memory is short, precision too coarse, or the answer no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from srkit import InputError, Model, errors, registry
from srkit.errors import OptionError
from srkit.imaging import codec
from srkit.inference import consistency, eager
from srkit.inference.engines import prepared
from srkit.inference.model import LEAST_TILE, Limits, Settings
from srkit.inference.tiling import BLEND


class Nearest(nn.Module):
    """Repeats pixels."""

    receptive_radius = 0

    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


class Small(Nearest):
    """Has room for so many pixels."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.areas = room, list[int]()

    def forward(self, lr: Tensor) -> Tensor:
        area = lr.shape[-1] * lr.shape[-2]
        self.areas.append(area)
        if area > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return super().forward(lr)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_out_of_memory_halves_the_tile_and_remembers_it() -> None:
    generator = Small(40 * 40)
    model = Model("small", generator, 4)
    pixels = image(150, 130)
    sr = model.upscale(pixels, tile=64)
    assert np.array_equal(sr, pixels.repeat(4, 0).repeat(4, 1))
    assert model.limits.tile <= 32
    assert len(model.limits.notes) >= 1
    assert "out of memory on cpu; going on with tiles of" in model.limits.notes[0]
    before = len(generator.areas)
    model.upscale(pixels, tile=64)
    assert max(generator.areas[before:]) <= 40 * 40  # what was too much is not tried again


def test_out_of_memory_with_the_smallest_tile_is_one_clear_line() -> None:
    model = Model("small", Small(10), 4)
    with pytest.raises(InputError, match="not enough memory on cpu, even with small tiles"):
        model.upscale(image(90, 90), tile=2 * LEAST_TILE)
    assert model.limits.tile == LEAST_TILE


def test_another_error_is_no_lack_of_memory() -> None:
    class Broken(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            raise RuntimeError("size of tensor a must match")

    with pytest.raises(RuntimeError, match="must match"):
        Model("broken", Broken(), 4).upscale(image(8, 8))


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
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shape"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_recognised(error: Exception, expected: bool) -> None:
    assert errors.ran_out(error) is expected


def test_torch_really_raises_what_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert errors.ran_out(raised.value)


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
    model.limits.precision = "bf16"
    pixels = image(60, 40)
    for _ in range(2):
        sr = model.upscale(pixels, tile=16)
        assert np.array_equal(sr, pixels.repeat(4, 0).repeat(4, 1))
    assert generator.halves == 1  # one tile, and never again
    assert model.limits.precision == "fp32"
    assert model.limits.notes == [
        "model 'coarse' leaves the range of bf16; computing in fp32 from here on"
    ]


def test_sixteen_bits_and_tensors_never_go_through_half_precision() -> None:
    generator = Coarse()
    model = Model("coarse", generator, 4)
    model.limits.precision = "bf16"
    model.upscale(image(20, 20).astype(np.uint16) * 257)
    model.upscale(torch.rand(1, 3, 8, 8))
    assert generator.halves == 0


def test_an_answer_that_is_not_finite_is_no_result() -> None:
    class Holed(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            sr = super().forward(lr).clone()
            sr[..., -1, -1] = torch.nan
            return sr

    with pytest.raises(InputError, match="values that are not finite"):
        Model("holed", Holed(), 4).upscale(image(70, 70), tile=32)


def test_half_precision_on_a_cpu_is_refused_where_it_hasnt_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for precision, hardware in (("fp16", True), ("fp16", False), ("bf16", False)):
        monkeypatch.setattr(eager, "has_bf16", lambda hardware=hardware: hardware)
        with pytest.raises(OptionError, match="is for GPUs"):
            prepared(Model("x", Nearest(), 4), "cpu", precision)
    monkeypatch.setattr(eager, "has_bf16", lambda: True)
    assert prepared(Model("x", Nearest(), 4), "cpu", "bf16").limits.precision == "bf16"
    with pytest.raises(OptionError, match="precision is one of"):
        prepared(Model("x", Nearest(), 4), "cpu", "fp8")
    assert prepared(Model("x", Nearest(), 4), "cpu").limits.precision == "fp32"


def test_progress_adds_up_to_the_image() -> None:
    class Late(Small):
        def forward(self, lr: Tensor) -> Tensor:
            self.room = 0 if len(self.areas) == 5 else 1 << 20
            return super().forward(lr)

    for model in (Model("n", Nearest(), 4), Model("late", Late(0), 4)):
        steps: list[float] = []
        images = [codec.unpack(Image.fromarray(image(101, 67)))] * 3
        model.upscale_decoded(images, Settings(tile=24), steps.append)
        assert len(steps) > 10
        assert sum(steps) == pytest.approx(3)
    assert min(steps) < 0  # what had been done when memory ran out


def test_beside_the_result_only_seams_are_held() -> None:
    from srkit.inference import tiling

    alive: list[int] = []

    rows = columns = tiling.spans(400, 64, 0)
    sides = [4 * (span.read.stop - span.read.start) for span in rows]
    answers = (np.zeros((1, 3, height, width)) for height in sides for width in sides)
    covered = np.zeros((1600, 1600))
    for y, x, part in tiling.blended(answers, rows, columns, 4):
        covered[y, x] += 1
        alive.append(part.size)
    assert (covered == 1).all()
    assert max(alive) <= 3 * (4 * (64 + 2 * BLEND)) ** 2


# --- consistency and ensembles ------------------------------------------------------------------


def reduced(sr: Tensor) -> Tensor:
    size = (sr.shape[-2] // 4, sr.shape[-1] // 4)
    return nn.functional.interpolate(sr, size=size, mode="bicubic", antialias=True)


def projected_to(sr: Tensor, lr: Tensor) -> Tensor:
    return torch.from_numpy(consistency.project(sr.numpy(), lr.numpy(), 4))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 29), (64, 5)])
def test_a_projected_result_gives_the_input_back(size: tuple[int, int]) -> None:
    lr = torch.rand(2, 3, *size) * 0.5 + 0.25
    sr = torch.rand(2, 3, size[0] * 4, size[1] * 4) * 0.1 + 0.45  # far from it
    assert (reduced(sr) - lr).abs().max() > 0.1 or size == (1, 1)
    projected = projected_to(sr, lr)
    assert (reduced(projected) - lr).abs().mean() < 1e-3
    assert projected.min() >= 0
    assert projected.max() <= 1


def test_a_consistent_result_is_left_alone() -> None:
    sr = torch.rand(1, 3, 48, 64)
    assert torch.allclose(projected_to(sr, reduced(sr)), sr, atol=1e-5)


def test_projected_tiles_are_the_projected_whole() -> None:
    model = Model("lanczos", registry.build("generators", "lanczos", scale=4), 4)
    lr = torch.rand(1, 3, 90, 110)
    whole, tiled = (model.upscale(lr, tile=tile, consistent=True) for tile in (None, 24))
    assert (whole - tiled).abs().max() < 1e-4
    assert (reduced(whole) - lr).abs().mean() < (reduced(model.upscale(lr)) - lr).abs().mean() / 3


def test_a_shift_of_colour_is_removed() -> None:
    class Reddish(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            return super().forward(lr) + torch.tensor([0.08, 0, 0])[:, None, None]

    model = Model("reddish", Reddish(), 4)
    pixels = image(30, 30) // 2 + 50
    plain, right = (model.upscale(pixels, consistent=c) for c in (False, True))
    assert consistency.residual(plain, pixels) > 5
    assert consistency.residual(right, pixels) < 1.5
    shift = right.mean((0, 1)) - pixels.mean((0, 1))
    assert np.abs(shift).max() < 0.5 < plain.mean((0, 1))[0] - pixels.mean((0, 1))[0]


def test_the_residual_is_in_255ths_at_any_depth() -> None:
    lr = image(9, 7)
    sr = np.clip(lr.repeat(4, 0).repeat(4, 1).astype(int) + 10, 0, 255).astype(np.uint8)
    deep = consistency.residual(sr.astype(np.uint16) * 257, lr.astype(np.uint16) * 257)
    assert deep == pytest.approx(consistency.residual(sr, lr), rel=1e-4)
    flat = np.full((8, 8, 3), 100, np.uint8)
    assert consistency.residual(np.full((32, 32, 3), 103, np.uint8), flat) == pytest.approx(3)


@pytest.mark.parametrize(
    ("symmetries", "turns", "mirrored"),
    [(None, 1, True), ((), 1, False), (("mirror",), 1, True), (("mirror", "rotation"), 4, True)],
)
def test_an_ensemble_has_the_symmetries_that_the_model_states(
    symmetries: tuple[str, ...] | None, turns: int, mirrored: bool
) -> None:
    torch.manual_seed(1)
    network = registry.build("generators", "face-residual", width=8, blocks=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.2)
    if symmetries is not None:
        network.symmetries = symmetries
    model = Model("turning", network.eval(), 4)
    lr = torch.rand(1, 3, 12, 17)
    sr = model.upscale(lr, ensemble=True)
    assert ((sr - model.upscale(lr)).abs().max() > 1e-3) == (symmetries != ())
    views = [lr.rot90(turn, (-2, -1)) for turn in range(4)]
    back = [model.upscale(v, ensemble=True).rot90(-t, (-2, -1)) for t, v in enumerate(views)]
    same = [torch.allclose(each, sr, atol=1e-5) for each in back]
    assert same == [turn < turns for turn in range(4)]
    mirror = model.upscale(lr.flip(-1), ensemble=True).flip(-1)
    assert torch.allclose(mirror, sr, atol=1e-5) == mirrored


def test_an_ensemble_of_interpolation_is_interpolation() -> None:
    model = Model("bicubic", registry.build("generators", "bicubic", scale=4), 4)
    lr = torch.rand(1, 3, 9, 14)
    assert torch.allclose(model.upscale(lr, ensemble=True), model.upscale(lr), atol=1e-5)


def test_consistent_results_are_not_smaller_than_the_input() -> None:
    with pytest.raises(OptionError, match=r"a scale of 1 or more, not 0\.5"):
        Model("n", Nearest(), 4).upscale(image(8, 8), consistent=True, scale=0.5)


def test_another_scale_than_stated_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"gives \(1, 3, 32, 32\) for .*; its scale should be 3"):
        Model("n", Nearest(), 3).upscale(image(8, 8))


def test_a_batch_that_is_too_much_is_halved_before_tiles_are() -> None:
    class Few(Nearest):
        def forward(self, lr: Tensor) -> Tensor:
            if len(lr) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(lr)

    model = Model("few", Few(), 4)
    pixels = [image(16, 16, seed) for seed in range(20)]
    assert all(
        np.array_equal(sr, lr.repeat(4, 0).repeat(4, 1))
        for sr, lr in zip(model.upscale(pixels), pixels, strict=True)
    )
    assert (model.limits.batch, model.limits.tile) == (2, Limits().tile)
    assert model.limits.notes[-1] == "out of memory on cpu; going on with 2 at a time"
