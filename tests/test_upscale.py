"""Tiles, where models come from, and what survives of an image."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from srkit_plugins.contracts import small
from torch import Tensor, nn

import srkit
from srkit import Model, SrkitError, registry
from srkit.cli import main
from srkit.imaging import codec
from srkit.inference.tiling import BLEND
from srkit.inference.tiling import spans as _spans
from srkit.models.load import load

Install = Callable[..., Path]


def small_generator(name: str) -> nn.Module:
    """Build a registered generator, narrow where it can be, with random weights everywhere."""
    generator: nn.Module = registry.build("generators", name, scale=4, **small("generators", name))
    with torch.no_grad():
        for weight in generator.parameters():
            # Layers that start at zero would hide what lies before them.
            weight.add_(torch.randn_like(weight) * 0.2 / math.sqrt(max(1, weight[0].numel())))
    return generator.eval()


@torch.no_grad()
def difference(model: Model, lr: Tensor, tile: int) -> float:
    whole = model.generator(lr).clamp(0, 1)
    tiled = model.upscale(lr, tile=tile)
    assert tiled.shape == whole.shape
    return float((tiled - whole).abs().max())


# --- tiles --------------------------------------------------------------------------------------

SIZES = [(37, 53), (16, 129), (1, 1), (5, 200), (97, 97), (130, 3)]
QUICK = (((37, 53), 16), ((5, 200), 16))
STATED = [
    name
    for name in registry.offers("generators")
    if getattr(small_generator(name), "receptive_radius", None) is not None
]


@pytest.mark.parametrize(
    ("size", "tile"),
    [
        pytest.param(size, tile, marks=() if (size, tile) in QUICK else pytest.mark.long)
        for size in SIZES
        for tile in (16, 32)
    ],
)
@pytest.mark.parametrize("name", STATED)
def test_tiles_give_what_the_whole_image_would(name: str, size: tuple[int, int], tile: int) -> None:
    model = Model(name, small_generator(name), 4)
    assert model.exact_tiles
    assert difference(model, torch.rand(1, 3, *size), tile) < 1e-5


@settings(max_examples=40)
@given(height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(1, 60))
def test_tiles_of_any_size_give_what_the_whole_image_would(
    height: int, width: int, tile: int
) -> None:
    model = Model("bicubic", registry.build("generators", "bicubic", scale=3), 3)
    lr = torch.rand(2, 3, height, width)
    assert difference(model, lr, tile) < 1e-5


def test_an_image_is_really_cut() -> None:
    seen: list[tuple[int, int]] = []

    class Watched(nn.Module):
        receptive_radius = 0

        def forward(self, lr: Tensor) -> Tensor:
            seen.append((lr.shape[-2], lr.shape[-1]))
            return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)

    model = Model("watched", Watched(), 4)
    assert difference(model, torch.rand(1, 3, 100, 70), 20) < 1e-6
    tiles = seen[1:]  # the first was the whole image
    assert len(tiles) == 5 * 4
    assert max(max(size) for size in tiles) <= 20 + 2 * BLEND


def test_a_radius_stated_too_small_shows_at_the_seams() -> None:
    generator = small_generator("inception-residual")
    generator.receptive_radius = 0  # type: ignore[assignment]
    assert difference(Model("liar", generator, 4), torch.rand(1, 3, 60, 60), 16) > 1e-4


@given(length=st.integers(1, 700), tile=st.integers(1, 150), margin=st.integers(0, 40))
def test_spans_cover_the_axis_and_their_ramps_add_up_to_one(
    length: int, tile: int, margin: int
) -> None:
    spans = _spans(length, tile, margin)
    assert spans[0].start == 0
    assert spans[-1].stop == length
    assert all(a.stop == b.start for a, b in itertools.pairwise(spans))
    total = np.zeros(3 * length)
    for span in spans:
        left, right = span.shown
        assert 0 <= span.read.start <= left < right <= span.read.stop <= length
        # All the context there is, on both sides.
        assert span.read.start == max(0, left - margin)
        assert span.read.stop == min(length, right + margin)
        ramp = span.ramp(3)
        assert (ramp > 0).all()
        total[span.written(3)] += ramp
        inner = span.inner(3)
        assert inner.stop - inner.start == len(ramp)
        assert len(spans) == 1 or span.stop - span.start >= 2 * BLEND
    assert np.allclose(total, 1, atol=1e-6)


class Normalised(nn.Module):
    """Depends on the mean of the whole image: no radius is large enough."""

    receptive_radius = None

    def forward(self, lr: Tensor) -> Tensor:
        lr = lr - lr.mean(dim=(-1, -2), keepdim=True) + 0.5
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


class Silent(nn.Module):
    """Says nothing of its radius."""

    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


@pytest.mark.parametrize("generator", [Normalised(), Silent()])
def test_an_unknown_radius_runs_all_the_same(generator: nn.Module) -> None:
    model = Model("unknown", generator, 4)
    assert not model.exact_tiles
    lr = torch.rand(1, 3, 61, 90)
    sr = model.upscale(lr, tile=16)
    assert sr.shape == (1, 3, 244, 360)
    assert sr.isfinite().all()
    if isinstance(generator, Silent):
        assert torch.allclose(sr, generator(lr), atol=1e-6)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_a_generator_gives_floats(kind: torch.dtype) -> None:
    class Whole(nn.Module):
        def forward(self, lr: Tensor) -> Tensor:
            return (lr.repeat_interleave(2, 2).repeat_interleave(2, 3) * 255).to(kind)

    with pytest.raises(SrkitError, match=rf"gives floats in \[0, 1\]; Whole gives {kind}"):
        Model("whole", Whole(), 2).upscale(torch.rand(3, 8, 8))


def test_what_leaves_is_clamped() -> None:
    class Loud(Silent):
        receptive_radius = 0

        def forward(self, lr: Tensor) -> Tensor:
            return super().forward(lr) * 4 - 1

    for tile in (16, 128):
        sr = Model("loud", Loud(), 4).upscale(torch.rand(1, 3, 40, 40), tile=tile)
        assert (sr.min(), sr.max()) == (0, 1)


# --- what survives of an image -----------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Model:
    return load("bicubic", device="cpu")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Four quadrants of their own colours, upright, 48x32."""
    pixels = np.zeros((32, 48, 3), dtype=np.uint8)
    pixels[:16, :24], pixels[:16, 24:] = (220, 30, 30), (30, 220, 30)
    pixels[16:, :24], pixels[16:, 24:] = (30, 30, 220), (220, 220, 30)
    return Image.fromarray(pixels)


def corners(image: Image.Image) -> np.ndarray[Any, Any]:
    """The colours in the middles of the four quadrants, in 8 bits."""
    if image.mode == "I;16":  # Pillow's convert would clip
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    return pixels[height // 4 :: height // 2][:2, width // 4 :: width // 2][:, :2]


def with_transparency(image: Image.Image) -> Image.Image:
    pale = image.quantize(8)
    pale.info["transparency"] = 0
    return pale


def sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


MODES: list[tuple[str, Callable[[Image.Image], Image.Image], str]] = [
    *((mode, lambda image, mode=mode: image.convert(mode), mode) for mode in ("RGB", "L", "LA")),
    ("RGBA", lambda image: image.convert("RGBA"), "RGBA"),
    ("P", lambda image: image.quantize(8), "RGB"),
    ("P with transparency", with_transparency, "RGBA"),
    ("1", lambda image: image.convert("1"), "L"),
    ("I;16", sixteen_bits, "I;16"),
    ("CMYK", lambda image: image.convert("CMYK"), "RGB"),
    ("YCbCr", lambda image: image.convert("YCbCr"), "RGB"),
    ("HSV", lambda image: image.convert("HSV"), "RGB"),
    ("F", lambda image: Image.fromarray(np.asarray(image.convert("L")) / np.float32(255)), "I;16"),
]


@pytest.mark.parametrize(("make", "result"), [m[1:] for m in MODES], ids=[m[0] for m in MODES])
def test_every_mode_keeps_its_meaning(
    model: Model, photo: Image.Image, make: Callable[[Image.Image], Image.Image], result: str
) -> None:
    image = make(photo)
    before = image.tobytes()
    sr = model.upscale(image)
    assert sr.size == (4 * 48, 4 * 32)
    assert sr.mode == result
    assert image.tobytes() == before
    expected = corners(photo.convert("L") if result in ("L", "LA", "I;16") else photo)
    if image.mode not in ("1", "P"):  # dithered
        assert np.abs(corners(sr) - expected).max() <= 3


def test_the_default_model_takes_an_image_and_gives_an_image(photo: Image.Image) -> None:
    default = srkit.load()
    assert default.name == "faces"
    sr = default.upscale(photo)
    assert (sr.mode, sr.size) == ("RGB", (192, 128))
    assert np.abs(corners(sr) - corners(photo)).max() < 40


def test_transparency_is_upscaled_with_the_image(model: Model, photo: Image.Image) -> None:
    alpha = Image.new("L", photo.size, 0)
    alpha.paste(255, (0, 0, 24, 32))
    for mode, result in (("RGB", "RGBA"), ("L", "LA")):
        image = photo.convert(mode)
        image.putalpha(alpha)
        sr = model.upscale(image)
        assert sr.mode == result
        found = np.asarray(sr.getchannel("A"))
        assert (found[:, :80] == 255).all()
        assert (found[:, 112:] == 0).all()


def test_sixteen_bits_stay_sixteen_bits(model: Model) -> None:
    for value in (0, 65535, 32768, 300):
        image = Image.fromarray(np.full((4, 4), value, dtype=np.uint16))
        sr = model.upscale(image)
        assert sr.mode == "I;16"
        assert np.abs(np.asarray(sr).astype(int) - value).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
def test_an_array_gives_an_array_of_its_kind(model: Model, photo: Image.Image, kind: Any) -> None:
    rgba = np.array(photo.convert("RGBA"))
    top = 1 if np.issubdtype(kind, np.floating) else np.iinfo(kind).max
    for part in (rgba[..., 0], rgba[..., :1], rgba[..., :3], rgba):
        array = (part / 255 * top).astype(kind)
        sr = model.upscale(array)
        assert (sr.dtype, sr.shape) == (kind, (128, 192, *part.shape[2:]))
        middles = sr[32::64, 48::96].astype(float) - array[8::16, 12::24]
        assert np.abs(middles).max() <= 0.01 * top


def test_tensors_and_several_at_once_give_what_one_array_gives(
    model: Model, photo: Image.Image
) -> None:
    pixels = np.array(photo)
    whole = model.upscale(pixels)
    assert np.array_equal(model.upscale(np.stack([pixels, pixels])), np.stack([whole, whole]))
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    expected = torch.from_numpy(whole).permute(2, 0, 1)
    floats, eight = model.upscale([tensor / 255, tensor])
    assert (floats.dtype, eight.dtype) == (torch.float32, torch.uint8)
    assert (floats * 255 - expected).abs().max() < 0.51
    assert (eight.int() - expected).abs().max() <= 1
    assert model.upscale(tensor[None] / 255, scale=np.float32(2.5)).shape == (1, 3, 80, 120)


@pytest.mark.parametrize(
    ("image", "settings", "said"),
    [
        ("photo.png", {}, "takes Pillow images, arrays and tensors, not str"),
        (np.zeros((4, 4, 3), np.int64), {}, r"uint8, uint16 or floats in \[0, 1\], not int64"),
        (np.zeros((4, 4, 2), np.uint8), {}, r"hw, hw1, hw3 or hw4, not \(4, 4, 2\)"),
        (np.full((4, 4), np.nan), {}, "values that are not finite"),
        (torch.rand(3, 4, 4).to_sparse(), {}, "a tensor is dense, not torch.sparse_coo"),
        (np.zeros((4, 4), np.uint8), {"scale": "2"}, "scale is a number, not '2'"),
        (np.zeros((4, 4), np.uint8), {"tile": [16]}, r"tile is a number, not \[16\]"),
        (np.full((4, 4), 200.0), {}, "the highest here is 200: divide by 255"),
        (torch.full((3, 4, 4), 200.0), {}, "the highest here is 200: divide by 255"),
        (torch.zeros(4, 4, 3), {}, r"a tensor is 3hw or B3hw .*, not \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), {"scale": 0}, "scale must be above 0 and at most 64"),
        (np.zeros((4, 4), np.uint8), {"tile": 0}, "tile must be 1 or more, not 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_upscaled_is_one_line(
    model: Model, image: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(SrkitError, match=said) as raised:
        model.upscale(image, **settings)
    assert "\n" not in str(raised.value)


def test_one_pixel_is_an_image(model: Model) -> None:
    sr = model.upscale(Image.new("RGB", (1, 1), (9, 99, 199)))
    assert sr.size == (4, 4)
    assert sr.getpixel((2, 2)) == (9, 99, 199)


ORIENT = 0x0112
# How an upright image must be stored, so that this EXIF orientation shows it upright.
STORED: dict[int, Image.Transpose | None] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def rotated(photo: Image.Image, orientation: int, file: Path) -> Path:
    how = STORED[orientation]
    stored = photo.transpose(how) if how is not None else photo
    exif = Image.Exif()
    exif[ORIENT] = orientation
    stored.save(file, exif=exif, quality=95, subsampling=0)
    return file


@pytest.mark.parametrize(
    ("orientation", "suffix"),
    [*itertools.product(STORED, [".jpg"]), *itertools.product([6], [".png", ".tif", ".webp"])],
)
def test_exif_orientation_is_honoured_exactly_once(
    tmp_path: Path, model: Model, photo: Image.Image, orientation: int, suffix: str
) -> None:
    file = rotated(photo, orientation, tmp_path / f"photo{suffix}")
    with Image.open(file) as image:
        sr = model.upscale(image)
    assert sr.size == (192, 128)
    assert np.abs(corners(sr) - corners(photo)).max() < 30
    assert ImageOps.exif_transpose(sr).size == (192, 128)
    assert main(["upscale", str(file), "--model", "bicubic", "--device", "cpu"]) == 0
    with Image.open(tmp_path / f"photo-x4{suffix}") as written:
        shown = ImageOps.exif_transpose(written)
        assert written.size == shown.size == (192, 128)
        assert np.abs(corners(shown) - corners(photo)).max() < 30


@functools.cache  # the second it was made stands in it: another call may give other bytes
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_profile_and_resolution_are_kept_in_files(
    tmp_path: Path, photo: Image.Image, suffix: str
) -> None:
    file = tmp_path / f"photo{suffix}"
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    photo.save(file, exif=exif, icc_profile=profile(), dpi=(300, 300))
    assert main(["upscale", str(file), "--model", "bicubic", "--device", "cpu"]) == 0
    with Image.open(tmp_path / f"photo-x4{suffix}") as written:
        assert written.getexif().get(0x010F) == "A camera"
        assert written.info["icc_profile"] == profile()
        if suffix != ".webp":  # which has no place for it
            assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_profile_and_resolution_are_kept_in_memory(model: Model, photo: Image.Image) -> None:
    image = photo.copy()
    image.info.update(icc_profile=profile(), dpi=(300, 300))
    sr = model.upscale(image)
    # Pillow's save takes the profile from here; without it the colours would be other ones.
    assert sr.info.get("icc_profile") == profile()
    assert sr.info.get("dpi") == (300, 300)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "raw"])
def test_a_tiffs_own_tags_do_not_spoil_the_result(
    tmp_path: Path, photo: Image.Image, compression: str
) -> None:
    file = tmp_path / "photo.tif"
    photo.save(file, compression=compression)
    for out in ("out.tif", "out.png", "out.jpg"):
        command = ["upscale", str(file), "-o", str(tmp_path / out), "--model", "bicubic"]
        assert main([*command, "--device", "cpu"]) == 0
        with Image.open(tmp_path / out) as written:
            assert (written.mode, written.size) == ("RGB", (192, 128))
            assert np.abs(corners(written) - corners(photo)).max() < 30


def test_a_phones_jpeg_with_a_second_frame_is_an_image(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (24, 16), colour) for colour in ("red", "blue"))
    file = tmp_path / "phone.jpg"
    first.save(file, "MPO", save_all=True, append_images=[second])
    image = codec.read(file)
    assert image.rgb.size == (24, 16)
    red, _, blue = image.rgb.getpixel((5, 5))
    assert red > 200 > 50 > blue
