"""The operations of chains against independent references; chains as recipes; draws by seed."""

from __future__ import annotations

import io
import itertools
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from srkit_kornia import blur as blurs
from srkit_kornia.canvas import Canvas, Frame, Operation
from srkit_kornia.chain import Chain, OneOf, second_order
from srkit_kornia.draws import whole
from srkit_kornia.jpeg import Jpeg, compressed, rounded
from srkit_kornia.noise import Noise, poisson, standard
from srkit_kornia.resize import Resize, resampled
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import interpolate

from srkit import Loss, Part, Recipe, registry, testing
from srkit.errors import OptionError, RecipeError
from srkit.imaging import codec
from srkit.options import documentation

READY = Path(__file__).parents[1] / "plugins" / "srkit_kornia"
PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """The astronaut's head, ``13HW``, 128x128."""
    import skimage.data

    image = Image.fromarray(skimage.data.astronaut()).crop((160, 0, 288, 128))
    return codec.to_tensor(image)


def keys(count: int, start: int = 0) -> Tensor:
    return torch.arange(start, start + count)


def apply(step: Operation, images: Tensor, start: int = 0, scale: int = 4) -> Tensor:
    height, width = images.shape[-2:]
    frame = Frame((height, width), (height // scale, width // scale))
    return step(Canvas(images), frame, keys(len(images), start)).filled()


def psnr(one: Tensor, other: Tensor) -> float:
    return -10 * math.log10(float((one - other).square().mean()) + 1e-12)


# --- blur ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_an_isotropic_blur_is_scipys_gaussian(photo: Tensor, sigma: float) -> None:
    ours = apply(blurs.Blur(sigma=sigma), photo)[0]
    truncate = math.ceil(3 * sigma) / sigma
    theirs = scipy.ndimage.gaussian_filter(
        photo[0].double().numpy(), (0, sigma, sigma), mode="nearest", truncate=truncate
    )
    assert np.abs(ours.numpy() - theirs).max() < 1e-5


def test_each_image_has_the_blur_of_its_own_seed(photo: Tensor) -> None:
    step = blurs.Blur(sigma=(0.5, 3.0))
    ours = apply(step, photo.expand(5, -1, -1, -1))
    spread = step.kernels(keys(5))[:, 9].mul((torch.arange(19) - 9.0) ** 2).sum(1)
    assert len(set(spread.tolist())) == 5
    for number in range(5):
        alone = apply(step, photo, start=number)
        assert torch.equal(alone[0], ours[number])


def moments(kernel: Tensor) -> tuple[float, float, float]:
    """Standard deviations along the main axes, and the main axis's angle in degrees."""
    radius = kernel.shape[-1] // 2
    x, y = np.meshgrid(np.arange(-radius, radius + 1), np.arange(radius, -radius - 1, -1))
    weights = kernel.double().numpy()
    xx, yy, xy = ((weights * p).sum() for p in (x * x, y * y, x * y))
    values, axes = np.linalg.eigh([[xx, xy], [xy, yy]])
    angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1])) % 180
    return math.sqrt(values[1]), math.sqrt(values[0]), angle


@given(angle=st.floats(0, 179))
def test_an_anisotropic_kernel_has_its_sigmas_and_its_angle(angle: float) -> None:
    step = blurs.Blur(kernel="anisotropic", sigma=(0.8, 3.0), angle=angle, window=31)
    for kernel in step.kernels(keys(4)):
        longer, shorter, measured = moments(kernel)
        assert 0.75 < shorter < longer < 3.05
        away = (measured - angle) % 90
        assert min(away, 90 - away) < 1


@pytest.mark.parametrize(("angle", "down", "right"), [(0, 0, 1), (90, 1, 0), (45, -1, 1)])
def test_motion_blur_draws_a_line_of_its_length_in_its_direction(
    angle: float, down: int, right: int
) -> None:
    image = torch.zeros(1, 3, 41, 41)
    image[..., 20, 20] = 1
    streak = apply(blurs.Blur(kernel="motion", length=9, angle=angle), image)[0, 0]
    assert float(streak.sum()) == pytest.approx(1, abs=1e-5)
    steps = range(-6, 7)
    line = torch.stack([streak[20 + down * i, 20 + right * i] for i in steps])
    pixel = math.hypot(down, right)
    inside = [abs(i) * pixel <= 4.4 for i in steps]
    assert (line > 0.05).tolist() == inside
    if angle != 45:  # along the grid it is an average of nine pixels
        assert line[2:11].tolist() == pytest.approx([1 / 9] * 9, abs=1e-6)
        assert float(line.sum()) == pytest.approx(1, abs=1e-5)


@given(length=st.floats(5, 15), angle=st.floats(-180, 180))
def test_motion_kernels_are_as_long_as_asked(length: float, angle: float) -> None:
    (kernel,) = blurs.Blur(kernel="motion", length=length, angle=angle).kernels(keys(1))
    along, across, measured = moments(kernel)
    assert along == pytest.approx(length / math.sqrt(12), rel=0.12, abs=0.1)
    assert across < 0.6
    away = (measured - angle) % 180
    assert min(away, 180 - away) < 4


def test_motion_of_length_one_and_sigma_zero_change_nothing(photo: Tensor) -> None:
    for step in (blurs.Blur(kernel="motion", length=1, angle=0), blurs.Blur(sigma=0)):
        assert torch.allclose(apply(step, photo), photo, atol=1e-6)


def test_the_sinc_filter_passes_below_its_cutoff_and_not_above() -> None:
    (kernel,) = blurs.Blur(kernel="sinc", cutoff=math.pi / 2, window=41).kernels(keys(1))
    assert float(kernel.min()) < 0, "it should ring"
    response = torch.fft.fft2(kernel, s=(256, 256)).abs()
    frequency = torch.fft.fftfreq(256) * 2 * math.pi
    radius = torch.hypot(frequency[:, None], frequency[None, :])
    assert float((response[radius < 1.2] - 1).abs().max()) < 0.15
    assert float(response[radius > 2.0].max()) < 0.15


def test_profiles_differ_as_their_equations_say() -> None:
    middle = {}
    for profile, options in {
        "gaussian": {},
        "generalised": {"exponent": 0.5},
        "plateau": {"flatness": 2.0},
    }.items():
        (kernel,) = blurs.Blur(sigma=2.0, profile=profile, window=21, **options).kernels(keys(1))
        middle[profile] = kernel[10, 10:] / kernel[10, 10]
    squared = (torch.arange(11).double() / 2) ** 2
    assert torch.allclose(middle["gaussian"], torch.exp(-squared / 2), atol=1e-6)
    assert torch.allclose(middle["generalised"], torch.exp(-squared.sqrt() / 2), atol=1e-6)
    assert torch.allclose(middle["plateau"], 1 / (1 + squared**2), atol=1e-6)


def test_windows_are_odd_and_within_their_range() -> None:
    kernels = blurs.Blur(sigma=3.0, window=(7, 21)).kernels(keys(400))
    sides = (kernels[:, 10] > 0).sum(dim=1)
    assert set(sides.tolist()) == set(range(7, 22, 2))


# --- resize -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_a_whole_factor_is_torchs_antialiased_resize(
    photo: Tensor, kernel: Any, factor: int
) -> None:
    theirs = interpolate(photo, scale_factor=1 / factor, mode=kernel, antialias=True)
    ours = apply(Resize(kernel=kernel), photo, scale=factor)
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "side"),
    [(k, s) for k in PILLOW for s in (16, 32, 37, 100, 200) if k != "area" or 128 % s == 0],
)
def test_any_size_is_pillows(photo: Tensor, kernel: Any, side: int) -> None:
    # Pillow's box takes whole pixels, ours exact areas: they agree where a factor is whole.
    ours = apply(Resize(kernel=kernel, of="hr", factor=side / 128), photo)[0]
    for plane, result in zip(photo[0], ours, strict=True):
        theirs = Image.fromarray(plane.numpy()).resize((side, side), PILLOW[kernel])
        assert np.abs(np.asarray(theirs) - result.numpy()).max() < 1e-5


def test_area_keeps_the_mean_and_averages_exactly_what_a_pixel_covers() -> None:
    line = torch.tensor([1.0, 2.0, 4.0]).view(1, 1, 1, 3).expand(1, 3, 3, 3) / 4
    ours = apply(Resize(kernel="area", of="hr", factor=2 / 3), line)[0, 0, 0] * 4
    assert ours.tolist() == pytest.approx([(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 4) / 1.5])


@settings(max_examples=30)
@given(
    kernel=st.sampled_from(["bicubic", "bilinear", "area", "lanczos"]),
    before=st.tuples(st.integers(5, 24), st.integers(5, 24)),
    after=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 99),
)
def test_the_canvas_beyond_an_image_never_shows(
    kernel: Any, before: tuple[int, int], after: tuple[int, int], seed: int
) -> None:
    """An image in the corner of a canvas full of rubbish is resized as if it were alone."""
    (image,) = torch.rand(1, 3, *before, generator=torch.Generator().manual_seed(seed))
    canvas = torch.full((1, 3, 24, 24), 1e3)
    canvas[0, :, : before[0], : before[1]] = image
    new = torch.tensor([after])
    filled = Canvas(canvas, torch.tensor([before]))
    inside = resampled(filled, new, (30, 30), {kernel: 1.0}, keys(1))
    alone = resampled(Canvas(image[None]), new, after, {kernel: 1.0}, keys(1))
    assert torch.allclose(inside[..., : after[0], : after[1]], alone, atol=1e-6)
    # Beyond it, the border goes on.
    assert torch.equal(inside, Canvas(inside, new).filled())


def test_factors_are_drawn_per_image_and_by_direction() -> None:
    step = Resize(of="hr", factor=(0.25, 1.5), direction={"down": 0.7, "up": 0.2, "keep": 0.1})
    sizes = step(Canvas(torch.rand(1000, 3, 16, 16)), Frame((16, 16), (4, 4)), keys(1000)).sizes
    assert sizes is not None
    assert torch.equal(sizes[:, 0], sizes[:, 1])
    assert (int(sizes.min()), int(sizes.max())) == (4, 24)
    assert float((sizes[:, 0] < 16).float().mean()) == pytest.approx(0.7, abs=0.06)
    assert float((sizes[:, 0] > 16).float().mean()) == pytest.approx(0.2, abs=0.05)


# --- noise --------------------------------------------------------------------------------------


def test_gaussian_noise_has_its_variance_everywhere() -> None:
    levels = torch.tensor([0.3, 0.5, 0.7]).view(3, 1, 1, 1).expand(3, 3, 128, 128)
    noise = apply(Noise(sigma=0.05), levels) - levels
    assert noise.std(dim=(1, 2, 3)).tolist() == pytest.approx([0.05] * 3, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=5e-4)
    assert scipy.stats.kstest(noise[0].flatten().numpy() / 0.05, "norm").pvalue > 0.01
    between = np.corrcoef(noise[0].flatten(1).numpy())
    assert np.abs(between - np.eye(3)).max() < 0.05


def test_poisson_noise_has_a_variance_proportional_to_brightness() -> None:
    levels = torch.tensor([0.05, 0.1, 0.2, 0.4, 0.6])
    flat = levels.view(5, 1, 1, 1).expand(5, 3, 128, 128)
    noise = apply(Noise(kind="poisson", poisson_scale=2.0), flat) - flat
    assert noise.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0] * 5, abs=1.5e-3)
    variances = noise.var(dim=(1, 2, 3)).tolist()
    assert variances == pytest.approx((levels * 4 / 255).tolist(), rel=0.05)
    # Counts of photons: whole numbers.
    counts = (flat + noise)[0] * 255 / 4
    assert torch.allclose(counts, counts.round(), atol=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.7, 1.9, 2.1, 5.0, 28.0, 255.0, 1e4])
def test_poisson_counts_are_scipys_quantiles(rate: float) -> None:
    uniform = (torch.arange(20_000) + 0.5) / 20_000
    ours = poisson(torch.full_like(uniform, rate), uniform, standard(uniform)).numpy()
    theirs = scipy.stats.poisson.ppf(uniform.double().numpy(), rate) if rate else 0 * ours
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.011


def test_grey_noise_is_the_same_in_all_channels(photo: Tensor) -> None:
    flat = torch.full((200, 3, 8, 8), 0.5)
    noise = apply(Noise(sigma=0.05, grey=0.4), flat) - flat
    grey = (noise[:, 0] == noise[:, 1]).flatten(1).all(dim=1)
    assert float(grey.float().mean()) == pytest.approx(0.4, abs=0.1)
    assert torch.equal(noise[grey, 0], noise[grey, 2])
    for kind in ("gaussian", "poisson"):
        step = Noise(kind=kind, sigma=0.03, poisson_scale=0.7, grey=1.0)
        noise = apply(step, photo * 0.4 + 0.3) - (photo * 0.4 + 0.3)
        assert torch.allclose(noise[:, :1].expand_as(noise), noise, atol=1e-6)


# --- JPEG ---------------------------------------------------------------------------------------


def pillows_jpeg(image: Tensor, quality: int, chroma: str) -> Tensor:
    file = io.BytesIO()
    codec.to_image(image).save(file, "JPEG", quality=quality, subsampling=chroma)
    return codec.to_tensor(Image.open(file))


@pytest.mark.parametrize("chroma", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90, 95])
@pytest.mark.parametrize("size", [(128, 128), (101, 77)], ids=["blocks", "odd"])
def test_jpeg_loses_what_pillows_does(
    photo: Tensor, size: tuple[int, int], quality: int, chroma: str
) -> None:
    image = photo[..., : size[0], : size[1]]
    whole_number = torch.tensor([float(quality)], dtype=torch.float64)
    ours = compressed(image, whole_number, halved=chroma == "4:2:0")
    theirs = pillows_jpeg(image, quality, chroma)
    assert psnr(ours, theirs) > 41
    assert psnr(ours, image) == pytest.approx(psnr(theirs, image), abs=0.06)
    assert torch.allclose(ours * 255, (ours * 255).round(), atol=1e-4)


def test_a_grid_at_any_phase_is_that_of_a_larger_jpeg(photo: Tensor) -> None:
    step = Jpeg(quality=(40, 40), any_phase=True)
    image = photo[..., 3:51, 5:53]
    seen = set()
    for seed in range(40):
        done = step(Canvas(image), Frame((48, 48), (12, 12)), keys(1, seed)).pixels
        for top, left in itertools.product(range(16), repeat=2):
            whole_file = torch.nn.functional.pad(
                image, (left, 15 - left, top, 15 - top), mode="replicate"
            )
            quality = torch.tensor([40.0], dtype=torch.float64)
            cut = compressed(whole_file, quality)[..., top : top + 48, left : left + 48]
            if torch.equal(cut, done):
                seen.add((top, left))
                break
        else:
            pytest.fail("no phase gives this")
        if len(seen) > 4:
            return
    pytest.fail(f"only {len(seen)} phases in 40 draws")


def test_qualities_are_whole_numbers_each_as_often() -> None:
    drawn = whole((30.0, 34.0), keys(5000), 1)
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == [30, 31, 32, 33, 34]
    assert counts.min() > 900


def test_halves_are_rounded_alike_whatever_the_last_bits_say() -> None:
    halves = torch.tensor([0.5, 1.5, 127.5, 254.5])
    assert rounded(halves).tolist() == [1, 2, 128, 255]
    assert rounded(-halves).tolist() == [-1, -2, -128, -255]
    assert torch.equal(rounded(halves * (1 - 2e-7)), rounded(halves * (1 + 2e-7)))


# --- chains -------------------------------------------------------------------------------------

STEPS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "blur": [
        {
            "do": "blur",
            "kernel": ["isotropic", "anisotropic", "motion", "sinc"],
            "profile": ["gaussian", "generalised", "plateau"],
            "window": [7, 21],
        }
    ],
    "resize": [
        {
            "do": "resize",
            "of": "hr",
            "factor": [0.2, 1.4],
            "direction": {"down": 0.7, "up": 0.2, "keep": 0.1},
            "kernel": ["bicubic", "bilinear", "area"],
            "probability": 0.6,
        }
    ],
    "noise": [{"do": "noise", "kind": ["gaussian", "poisson"], "grey": 0.5, "probability": 0.5}],
    "jpeg": [{"do": "jpeg", "chroma": "4:4:4", "quality": [5, 100]}, {"do": "resize"}],
    "any-phase": [
        {"do": "resize"},
        {"do": "jpeg", "chroma": ["4:2:0", "4:4:4"], "any_phase": True, "quality": [20, 60]},
    ],
    "one-of": [
        {"do": "one-of", "weights": [1, 2], "branches": [[], [{"do": "resize", "factor": 2}]]},
        {"do": "jpeg"},
    ],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_every_operation_keeps_the_contract(steps: list[dict[str, Any]]) -> None:
    testing.check_degradation(registry.build("degradations", "chain", steps=steps))


@pytest.mark.parametrize(
    "name", ["first-order", pytest.param("second-order", marks=pytest.mark.long), "web-faces"]
)
def test_a_ready_chain_is_the_same_for_an_image_in_any_batch(photo: Tensor, name: str) -> None:
    hr = photo.unfold(2, 32, 24).unfold(3, 32, 24).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 32, 32)
    degrade = registry.build("degradations", name)
    together = degrade(hr, seeds=keys(len(hr), 1000))
    assert together.shape == (len(hr), 3, 8, 8)
    for size in (1, 3, 16):
        parts = zip(hr.split(size), keys(len(hr), 1000).split(size), strict=True)
        assert torch.equal(torch.cat([degrade(h, seeds=k) for h, k in parts]), together)


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
def test_the_result_has_the_size_of_its_scale_and_is_8_bits(scale: int) -> None:
    hr = torch.rand(2, 3, 24, 48)
    for name in ("chain", "first-order", "second-order", "web-faces"):
        lr = registry.build("degradations", name, scale=scale)(hr, seeds=keys(2))
        assert lr.shape == (2, 3, 24 // scale, 48 // scale)
        assert lr.dtype == torch.float32
        levels = lr * 255
        assert torch.allclose(levels, levels.round(), atol=1e-4)
        assert ((lr >= 0) & (lr <= 1)).all()


@pytest.mark.parametrize("side", [1, 2, 5])
def test_the_smallest_images_work(side: int) -> None:
    hr = torch.rand(3, 3, 4 * side, 4)
    lr = second_order()(hr, seeds=keys(3))
    assert lr.shape == (3, 3, side, 1)


def test_a_chain_without_steps_is_plain_bicubic(photo: Tensor) -> None:
    plain = registry.build("degradations", "faces-x4", noise=0.0)(photo, seeds=keys(1))
    levels = (Chain()(photo, seeds=keys(1)) - plain) * 255
    assert levels.abs().max() < 1.01
    assert (levels.abs() > 0.5).float().mean() < 0.01, "halves may be rounded another way"
    exact = Chain(quantise=False, kernel="area")(photo, seeds=keys(1))
    assert torch.allclose(exact, interpolate(photo, scale_factor=0.25, mode="area"), atol=1e-6)


def test_probability_decides_per_image_and_each_step_draws_on_its_own() -> None:
    hr = torch.full((400, 3, 8, 8), 0.5)
    noise = {"do": "noise", "sigma": 0.1, "probability": 0.3}
    once = registry.build("degradations", "chain", scale=1, steps=[noise])(hr, seeds=keys(400))
    changed = (once != once[:, :1, :1, :1]).flatten(1).any(dim=1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.07)
    always = {"do": "noise", "sigma": 0.1}
    twice = {"scale": 1, "steps": [always, always], "quantise": False}
    noisy = registry.build("degradations", "chain", **twice)(hr, seeds=keys(400)) - 0.5
    assert float(noisy.std()) == pytest.approx(0.1 * math.sqrt(2), rel=0.03)


def test_a_branch_is_taken_as_often_as_its_weight_says() -> None:
    white, black = ([{"do": "noise", "sigma": s}] for s in (0.0, 0.2))
    step = OneOf.model_validate({"branches": [white, black], "weights": [3, 1]})
    noisy = apply(step, torch.full((400, 3, 4, 4), 0.5)) != 0.5
    assert float(noisy.flatten(1).any(dim=1).float().mean()) == pytest.approx(0.25, abs=0.07)


@pytest.mark.parametrize("name", ["first-order", "second-order", "web-faces"])
def test_a_ready_chain_is_its_toml(photo: Tensor, name: str) -> None:
    text = (READY / f"{name}.toml").read_text(encoding="utf-8")
    assert documentation(registry.find("degradations", name)).endswith(text.strip())
    section = tomllib.loads(text)["degradation"]
    built = registry.build("degradations", section.pop("name"), **section)
    ready = registry.build("degradations", name)
    assert ready.steps == built.steps
    assert torch.equal(ready(photo, seeds=keys(1)), built(photo, seeds=keys(1)))


def test_second_order_is_two_rounds() -> None:
    done = [step.model_dump()["do"] for step in second_order().steps]
    assert done == ["blur", "resize", "noise", "jpeg", "blur", "resize", "noise", "one-of"]


def test_nothing_depends_on_what_a_tensor_holds() -> None:
    """No value comes back to the host: the whole chain runs on tensors that have only shapes."""
    names = ("blur", "resize", "noise", "one-of", "any-phase")
    steps = [step for name in names for step in STEPS[name]]
    degrade = registry.build("degradations", "chain", steps=steps)
    degrade(torch.rand(1, 3, 16, 16), seeds=keys(1))  # JPEG's constants are made once
    with FakeTensorMode(allow_non_fake_inputs=True):
        lr = degrade(torch.empty(5, 3, 32, 16), seeds=torch.empty(5, dtype=torch.int64))
    assert lr.shape == (5, 3, 8, 4)


# --- as recipes ---------------------------------------------------------------------------------


def recipe(**degradation: Any) -> Recipe:
    return Recipe(
        name="small",
        generator=Part.of("face-residual", width=8, blocks=1),
        losses={"l1": Loss(weight=1.0)},
        degradation=Part.of("chain", **degradation),
    )


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_a_chain_goes_through_toml_and_back(steps: list[dict[str, Any]]) -> None:
    made = recipe(steps=steps)
    again = Recipe.from_toml(made.to_toml())
    assert again == made
    hr = torch.rand(2, 3, 16, 16)
    one, other = (each.build("degradation")(hr, seeds=keys(2)) for each in (made, again))
    assert torch.equal(one, other)


def test_a_chain_is_changed_like_any_part() -> None:
    made = recipe(steps=STEPS["blur"]).changed({"degradation.kernel": "area"})
    assert made.degradation.options == {"steps": STEPS["blur"], "kernel": "area"}
    assert made.changed({"degradation.steps": STEPS["noise"]}).degradation.options["steps"]
    assert made.changed({"degradation.name": "second-order"}).degradation.options == {}
    with pytest.raises(RecipeError, match="steps has no keys of its own"):
        made.changed({"degradation.steps.0.sigma": 1.0})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"do": "blur", "sgima": 2}, r"unknown key 'steps\[1\].sgima' \(did you mean 'sigma'\?\)"),
    ({"do": "blur", "sigma": [3, 1]}, r"'steps\[1\].sigma' can't be \[3, 1\]: .*low end first"),
    ({"do": "blur", "sigma": [1, "a"]}, r"'steps\[1\].sigma\[1\]' can't be 'a': "),
    ({"do": "blur", "sigma": math.inf}, r"'steps\[1\].sigma' can't be inf: "),
    ({"do": "blur", "window": 8}, r"'steps\[1\].window' can't be 8: .* odd "),
    (
        {"do": "blurr"},
        r"'steps\[1\].do' can't be 'blurr' \(did you mean 'blur'\?\); it is 'blur', 'resize', ",
    ),
    ({"sigma": 1}, r"'steps\[1\].do' is missing"),
    ({"do": "one-of"}, r"'steps\[1\].branches' is missing"),
    ({"do": "jpeg", "quality": 101}, r"'steps\[1\].quality' can't be 101: .* from 1 to 100"),
    (
        {"do": "resize", "kernel": "cubic"},
        r"'steps\[1\].kernel' can't be 'cubic' \(did you mean 'bicubic'\?\); it is '",
    ),
    ({"do": "resize", "kernel": {"area": 0}}, "a weight above 0"),
    ({"do": "resize", "factor": 0}, r"'steps\[1\].factor' can't be 0: "),
    ({"do": "resize", "direction": "up"}, "direction 'up' has no factor"),
    ({"do": "noise", "probability": 2}, r"'steps\[1\].probability' can't be 2: "),
    ({"do": "one-of", "branches": [[], []], "weights": [1]}, "1 weights for 2 branches"),
    (
        {"do": "one-of", "branches": [[{"do": "jpeg", "qualty": 3}]]},
        r"unknown key 'steps\[1\].branches\[0\]\[0\].qualty' \(did you mean 'quality'\?\); known: ",
    ),
]


@pytest.mark.parametrize(("step", "said"), WRONG, ids=[str(step) for step, _ in WRONG])
def test_a_wrong_step_is_named_with_its_place_in_one_line(step: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        registry.build("degradations", "chain", steps=[{"do": "resize"}, step])
    assert str(caught.value).startswith("degradation 'chain': ")
    assert "\n" not in str(caught.value)


def test_images_that_are_no_multiple_of_the_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of scale 4"):
        Chain()(torch.rand(1, 3, 10, 8), seeds=keys(1))
    with pytest.raises(OptionError, match="scale is a whole number"):
        registry.build("degradations", "chain", scale=0)


# --- on a GPU -----------------------------------------------------------------------------------


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_operations_on_a_gpu_agree_with_the_cpu(photo: Tensor, steps: list[dict[str, Any]]) -> None:
    hr = photo.expand(16, -1, -1, -1).contiguous()
    degrade = registry.build("degradations", "chain", steps=steps)
    on_cpu = degrade(hr, seeds=keys(16))
    on_gpu = degrade(hr.cuda(), seeds=keys(16).cuda()).cpu()
    # A rounding that tips over changes a level, in JPEG a block.
    assert ((on_gpu - on_cpu).abs() > 1.01 / 255).float().mean() < 0.01
    assert psnr(on_gpu, on_cpu) > 45


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["first-order", "second-order", "web-faces"])
def test_ready_chains_on_a_gpu_agree_with_the_cpu(photo: Tensor, name: str) -> None:
    hr = photo.expand(32, -1, -1, -1).contiguous()
    degrade = registry.build("degradations", name)
    on_cpu, on_gpu = degrade(hr, seeds=keys(32)), degrade(hr.cuda(), seeds=keys(32).cuda())
    assert psnr(on_gpu.cpu(), on_cpu) > 40
