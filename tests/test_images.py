"""Files -> images -> files: what an independent program wrote is what another reads, doubled.

No network takes part: images are doubled by repeating pixels, so that every one is known.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import png
import profiles
import pytest
import skimage.data
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from srkit.errors import InputError
from srkit.imaging import codec, colour, decode, formats, tiff
from srkit.imaging.codec import DecodedImage
from srkit.imaging.image import as_image, canvas, filled, to_grey, upscaled_alpha

LOSSLESS = [
    *(
        (suffix, mode)
        for suffix in (".png", ".tif", ".webp")
        for mode in ("L", "RGB", "LA", "RGBA")
    ),
    *((".bmp", mode) for mode in ("L", "RGB")),  # Pillow's has no alpha
]
LOSSY = {".jpg": 4.0, ".webp": 5.0, ".avif": 5.0}  # mean levels that a photograph loses twice
needs_avif = pytest.mark.skipif(".avif" not in codec.SUFFIXES, reason="Pillow without AVIF")
FORMATS = [".png", ".jpg", ".webp", ".tif", ".bmp", pytest.param(".avif", marks=needs_avif)]


def photo(height: int = 24, width: int = 40) -> np.ndarray:
    """A head, or the first pixels of it, uint8."""
    whole = skimage.data.astronaut()[20:180:4, 150:310:4]
    return np.ascontiguousarray(whole[:height, :width])


def deep_photo(height: int = 24, width: int = 40, channels: int = 3) -> np.ndarray:
    """The same in 16 bits, of which the lower eight are noise: losing them shows."""
    colours = photo(height, width).astype(np.uint16)
    stack = np.dstack([colours, colours.mean(2)])[
        ..., [[], [0], [0, 3], [0, 1, 2], [0, 1, 2, 3]][channels]
    ]
    noise = np.random.default_rng(7).integers(0, 256, stack.shape)
    return (stack.astype(np.uint16) << 8) + noise.astype(np.uint16)


def twice(values: np.ndarray) -> np.ndarray:
    return values.repeat(2, 0).repeat(2, 1)


def doubled(file: Path, out: Path, **options: Any) -> DecodedImage:
    """Read a file, repeat its pixels and save them as another; return what was saved."""
    given = codec.read(file)
    image = given.upscaled(twice(given.pixels))
    codec.save(image, out, **options)
    return image


def pixels(file: Path, mode: str | None = None) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert(mode) if mode else image)


# --- 8 bits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(24, 40), (1, 1)], ids=str)
@pytest.mark.parametrize(("suffix", "mode"), LOSSLESS)
def test_lossless_formats_keep_every_pixel(
    tmp_path: Path, suffix: str, mode: str, size: tuple[int, int]
) -> None:
    image = Image.fromarray(photo(*size)).convert(mode.removesuffix("A"))
    expected = np.asarray(image)
    if mode.endswith("A"):
        image.putalpha(77)
    image.save(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    decoded = doubled(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert decoded.size == (2 * size[1], 2 * size[0])
    with Image.open(tmp_path / f"b{suffix}") as written:
        # WebP has no grey.
        wanted = mode.replace("LA", "RGBA").replace("L", "RGB") if suffix == ".webp" else mode
        assert written.mode == wanted
        assert (np.asarray(written.convert(mode.removesuffix("A"))) == twice(expected)).all()
        if mode.endswith("A"):
            assert (np.asarray(written.getchannel("A")) == 77).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp", pytest.param(".avif", marks=needs_avif)])
def test_lossy_formats_lose_what_they_must(tmp_path: Path, suffix: str, mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    image.save(tmp_path / f"a{suffix}", quality=95)
    doubled(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    found = pixels(tmp_path / f"b{suffix}", mode).astype(int)
    assert np.abs(found - twice(np.asarray(image))).mean() < LOSSY[suffix]
    assert (found.ndim == 2) == (mode == "L")


def test_colours_of_a_jpeg_are_as_sharp_as_its_brightness(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (255, 0, 0), (0, 0, 255)
    codec.save(DecodedImage(stripes), tmp_path / "a.jpg")
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - stripes).mean() < 8


@pytest.mark.parametrize(("given", "wanted"), [(".webp", ".webp"), (".png", ".webp")])
def test_a_lossless_webp_stays_lossless(tmp_path: Path, given: str, wanted: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a{given}", lossless=True)
    doubled(tmp_path / f"a{given}", tmp_path / f"b{wanted}")
    same = (pixels(tmp_path / f"b{wanted}") == twice(noise)).all()
    assert same == (given == ".webp")


# --- 16 bits ------------------------------------------------------------------------------------

PNG_KINDS = {1: (True, False), 2: (True, True), 3: (False, False), 4: (False, True)}


def write_png(file: Path, values: np.ndarray, bits: int = 16, **options: Any) -> None:
    """Write by pypng, which shares nothing with what reads."""
    height, width, channels = values.shape
    grey, alpha = PNG_KINDS[channels]
    writer = png.Writer(width, height, greyscale=grey, alpha=alpha, bitdepth=bits, **options)
    with file.open("wb") as out:
        writer.write(out, values.reshape(height, -1).tolist())


def read_png(file: Path) -> np.ndarray:
    width, height, rows, about = png.Reader(bytes=file.read_bytes()).read()
    assert about["bitdepth"] == 16
    return np.array([list(row) for row in rows]).reshape(height, width, about["planes"])


def read_tiff(file: Path) -> np.ndarray:
    with tifffile.TiffFile(file) as given:
        page = given.pages[0]
        assert page.bitspersample == 16
        return page.asarray().reshape(page.imagelength, page.imagewidth, -1)


@pytest.mark.parametrize(
    ("size", "interlace"), [((24, 40), False), ((24, 40), True), ((3, 1), False)], ids=str
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png(tmp_path: Path, channels: int, size: tuple[int, int], interlace: bool) -> None:
    values = deep_photo(*size, channels)
    if channels in (2, 4):
        values[..., -1] = 12_345  # the same all over: the same upscaled
    write_png(tmp_path / "a.png", values, interlace=interlace)
    image = doubled(tmp_path / "a.png", tmp_path / "b.png")
    assert image.pixels.dtype == np.uint16
    assert image.grey == (channels < 3)
    assert (read_png(tmp_path / "b.png") == twice(values)).all()
    doubled(tmp_path / "a.png", tmp_path / "c.tif")
    assert (read_tiff(tmp_path / "c.tif") == twice(values)).all()


TIFF_KINDS = [
    *itertools.product(
        [1, 2, 3, 4],
        [
            {},
            {"compression": "zlib", "predictor": True},
            {"tile": (16, 16)},
        ],
    ),
    *itertools.product([3, 4], [{"planarconfig": "separate"}]),
]


def test_16_bit_png_written_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srkit.imaging.png._BAND", 7 * 40 * 2 * 3)  # seven rows
    values = deep_photo()
    codec.save(DecodedImage(values), tmp_path / "a.png")
    assert (read_png(tmp_path / "a.png") == values).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_grey_image_stays_grey_whatever_a_network_makes_of_it(
    tmp_path: Path, suffix: str, kind: Any
) -> None:
    colours = deep_photo().astype(kind)
    for profile, channels in ((None, 1), (profiles.grey(), 1), (profiles.wide(), 3)):
        info = {"icc_profile": profile} if profile else {}
        image = DecodedImage(colours, None, True, info)
        codec.save(image, tmp_path / f"a{suffix}")
        found = codec.read(tmp_path / f"a{suffix}")
        assert np.abs(np.ptp(found.pixels.astype(int), axis=2)).max() == 0
        assert found.grey == (channels == 1)
        shown = found.pixels.mean() / np.iinfo(found.pixels.dtype).max
        assert shown == pytest.approx(to_grey(colours).mean() / np.iinfo(kind).max, abs=0.01)


@pytest.mark.parametrize(("channels", "how"), TIFF_KINDS, ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff(tmp_path: Path, channels: int, order: Any, how: dict[str, Any]) -> None:
    values = deep_photo(channels=channels)
    options: dict[str, Any] = {"photometric": "rgb" if channels > 2 else "minisblack", **how}
    if channels in (2, 4):
        values[..., -1] = 12_345
        options["extrasamples"] = ["unassalpha"]
    given = values.transpose(2, 0, 1) if "planarconfig" in how else values
    if channels == 1:
        given = given[..., 0]
    elif "planarconfig" not in how:
        options["planarconfig"] = "contig"
    tifffile.imwrite(tmp_path / "a.tif", given, byteorder=order, metadata=None, **options)
    for out, read in (("b.tif", read_tiff), ("b.png", read_png)):
        image = doubled(tmp_path / "a.tif", tmp_path / out)
        assert (image.pixels.dtype, image.grey) == (np.uint16, channels < 3)
        assert (read(tmp_path / out) == twice(values)).all()


def write_lzw(file: Path, values: np.ndarray) -> None:
    """Write 16-bit RGB(A) with Pillow's LZW, which takes grey: as one channel of wider rows."""
    height, width, channels = values.shape
    stream = io.BytesIO()
    grey = Image.fromarray(values.reshape(height, -1))
    grey.save(stream, "tiff", compression="tiff_lzw")
    with Image.open(stream) as image:
        (start,), (length,) = image.tag_v2[273], image.tag_v2[279]
    strip = stream.getvalue()[start : start + length]
    at = 8 + len(strip) + len(strip) % 2
    below = at + 2 + 12 * 9 + 4
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, below), (259, 3, 1, 5)]
    tags += [(262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, channels), (278, 4, 1, height)]
    tags += [(279, 4, 1, len(strip))]
    content = struct.pack("<2sHI", b"II", 42, at) + strip.ljust(at - 8, b"\0")
    content += struct.pack("<H", 9) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    file.write_bytes(content + bytes(4) + struct.pack(f"<{channels}H", *[16] * channels))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_lzw_tiff_loses_nothing(tmp_path: Path, channels: int) -> None:
    """tifffile leaves LZW to another package; libtiff's two halves must make the whole."""
    values = deep_photo(channels=channels)
    if channels == 4:
        values[..., 3] = 12_345
    if channels == 1:
        Image.fromarray(values[..., 0]).save(tmp_path / "a.tif", compression="tiff_lzw")
    else:
        write_lzw(tmp_path / "a.tif", values)
    doubled(tmp_path / "a.tif", tmp_path / "b.png")
    assert (read_png(tmp_path / "b.png") == twice(values)).all()


def test_16_bits_that_nothing_here_decodes_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lzw(tmp_path / "a.tif", deep_photo())
    monkeypatch.setattr(tiff, "_by_libtiff", lambda stream: 1 / 0)
    with pytest.raises(
        InputError, match=r"a\.tif: LZW TIFF of 16 bits .* pip install imagecodecs$"
    ):
        codec.read(tmp_path / "a.tif")


def test_a_key_colour_of_16_bits_is_transparent(tmp_path: Path) -> None:
    for channels in (1, 3):
        values = deep_photo(channels=channels)
        key = tuple(int(v) for v in values[3, 5])
        options = {"transparent": key if channels == 3 else key[0]}
        write_png(tmp_path / "a.png", values, **options)
        image = codec.read(tmp_path / "a.png")
        hidden = (values == values[3, 5]).all(2)
        assert image.alpha is not None
        assert (image.alpha == np.where(hidden, 0, 65_535)).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_key_of_few_bits_is_transparent(tmp_path: Path, bits: int) -> None:
    values = np.arange(2**bits).repeat(3).reshape(-1, 3, 1)
    write_png(tmp_path / "a.png", values, bits, transparent=2**bits - 1)
    alpha = codec.read(tmp_path / "a.png").alpha
    assert alpha is not None
    assert ((alpha == 0) == (values[..., 0] == 2**bits - 1)).all()


def test_16_bits_are_rounded_where_a_format_has_only_8(tmp_path: Path) -> None:
    values = deep_photo()
    write_png(tmp_path / "a.png", values)
    exact = (values / 257).round()
    assert (np.asarray(codec.read(tmp_path / "a.png").rgb) == exact).all()
    lost = codec.save(codec.read(tmp_path / "a.png"), tmp_path / "b.bmp")
    assert (pixels(tmp_path / "b.bmp") == exact).all()
    assert lost == ["BMP holds 8 bits a channel: its 16 were rounded"]
    assert codec.save(codec.read(tmp_path / "a.png"), tmp_path / "b.tif") == []


def test_premultiplied_colours_of_16_bits_are_divided(tmp_path: Path) -> None:
    colours = np.full((4, 4, 3), 40_000, np.uint16)
    alpha = np.array([[0, 1_000, 30_000, 65_535]] * 4, np.uint16)
    given = np.dstack([(colours * (alpha[..., None] / 65_535)).round().astype(np.uint16), alpha])
    tifffile.imwrite(tmp_path / "a.tif", given, photometric="rgb", extrasamples=["assocalpha"])
    image = codec.read(tmp_path / "a.tif")
    assert (image.alpha == alpha).all()
    shown = image.pixels[alpha > 0].astype(int)
    assert np.abs(shown - 40_000).max() < 40


def test_white_is_zero_in_some_tiffs(tmp_path: Path) -> None:
    values = deep_photo(channels=1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert (codec.read(tmp_path / "a.tif").pixels[..., 0] == 65_535 - values).all()


def test_floats_are_16_bits_from_0_to_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.dstack([values] * 3), photometric="rgb")
    values[0, 0], values[0, 1] = 1.5, np.nan
    Image.fromarray(values).save(tmp_path / "c.tif")
    expected = (np.linspace(0, 1, 64) * 65_535).round().reshape(8, 8)
    for name in ("a.tif", "b.tif"):
        image = codec.read(tmp_path / name)
        assert np.abs(image.pixels - expected[..., None]).max() <= 1
        assert image.notes == ()
    image = codec.read(tmp_path / "c.tif")
    assert image.pixels[0, :2, 0].tolist() == [65_535, 0]
    assert image.notes == (
        "values below black or above white (1) were cut",
        "values that are no numbers became black",
    )


def test_a_tiff_that_pillow_would_misread_or_shorten_says_so(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(-128, 127, 32).astype(np.int8), (32, 1))
    tifffile.imwrite(tmp_path / "signed.tif", ramp)
    with pytest.raises(InputError, match="signed samples of 8 bits are not supported"):
        codec.read(tmp_path / "signed.tif")
    five = np.zeros((16, 16, 5), np.uint8)
    five[..., 1] = 200
    extra = ["unspecified"] * 2
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="rgb", extrasamples=extra)
    image = codec.read(tmp_path / "five.tif")
    assert image.pixels[0, 0].tolist() == [0, 200, 0]
    assert image.notes == ("further channels were left out",)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B", "F"])
def test_deep_greys_in_memory(mode: str) -> None:
    values = deep_photo(channels=1)[..., 0]
    kinds = {"I": np.int32, "I;16": "<u2", "I;16B": ">u2", "F": np.float32}
    given = values / np.float32(65_535) if mode == "F" else values
    image = Image.fromarray(np.asarray(given).astype(kinds[mode]))
    assert image.mode == mode
    decoded = codec.unpack(image)
    assert decoded.grey
    assert np.abs(decoded.pixels[..., 0].astype(int) - values).max() <= 0
    assert (np.asarray(decoded.to_image()) == values).all()


def test_bits_that_pillow_cuts_are_noted() -> None:
    content = b"P6 2 1 65535\n" + bytes(12)
    assert "its 16 bits a channel were cut to 8" in codec.read("x", content).notes


@needs_avif
@pytest.mark.parametrize(("flags", "bits"), [(0x00, 8), (0x40, 10), (0x60, 12)])
def test_an_avif_says_how_many_bits_it_has(flags: int, bits: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(photo()).save(stream, "avif")
    content = bytearray(stream.getvalue())
    content[content.index(b"av1C") + 6] &= 0x9F
    content[content.index(b"av1C") + 6] |= flags
    assert decode.avif_bits(bytes(content)) == bits


# --- modes --------------------------------------------------------------------------------------


def with_key(image: Image.Image) -> Image.Image:
    image = image.quantize(16)
    image.info["transparency"] = image.getpixel((0, 0))
    return image


def premultiplied(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(128)
    return image.convert("RGBa")


MODES: dict[str, Callable[[Image.Image], Image.Image]] = {
    **{m: lambda i, m=m: i.convert(m) for m in ("1", "L", "LA", "RGBA", "CMYK", "YCbCr", "HSV")},
    "P": lambda image: image.quantize(64),
    "P with a key": with_key,
    "PA": lambda image: image.quantize(64).convert("PA"),
    "RGBa": premultiplied,
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_means_the_same_colours(mode: str) -> None:
    image = MODES[mode](Image.fromarray(photo()))
    assert image.mode == mode.split()[0]
    before = image.tobytes()
    decoded = codec.unpack(image)
    assert image.tobytes() == before
    assert decoded.grey == (mode in ("1", "L", "LA"))
    # Independently: Pillow's own way to RGB.
    expected = np.asarray(image.convert("RGBA").convert("RGB"))
    seen = np.ones(expected.shape[:2], bool) if decoded.alpha is None else decoded.alpha > 0
    assert (decoded.pixels == expected)[seen].all()
    if mode in ("LA", "RGBA", "PA", "RGBa", "P with a key"):
        assert decoded.alpha is not None
        assert (decoded.alpha == np.asarray(image.convert("RGBA").getchannel("A"))).all()
        assert (decoded.alpha == 0).any() == (mode == "P with a key")
    else:
        assert decoded.alpha is None


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "RGBA", "LA"])
def test_tiffs_of_every_mode(tmp_path: Path, mode: str) -> None:
    image = MODES[mode](Image.fromarray(photo()))
    # Pillow 12 can't read its own YCbCr that isn't compressed.
    old = mode == "YCbCr" and int(PIL.__version__.partition(".")[0]) < 13
    image.save(tmp_path / "a.tif", compression="tiff_lzw" if old else None)
    in_memory = codec.unpack(image)
    decoded = codec.read(tmp_path / "a.tif")
    assert np.abs(decoded.pixels.astype(int) - in_memory.pixels).max() <= 1
    assert decoded.grey == in_memory.grey


def test_an_image_in_memory_is_not_tied_to_the_image_it_came_from() -> None:
    image = Image.new("RGB", (2, 2), "red")
    decoded = codec.unpack(image)
    image.paste("blue", (0, 0, 2, 2))
    assert decoded.pixels[0, 0].tolist() == [255, 0, 0]


# --- transparency -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(24, 40), (1, 1), (1, 9), (300, 3), (257, 258)], ids=str)
def test_what_lies_under_transparency_comes_from_around(size: tuple[int, int], kind: Any) -> None:
    draw = np.random.default_rng(1)
    top = np.iinfo(kind).max
    alpha = np.where(draw.random(size) < 0.02, draw.integers(1, top, size), 0).astype(kind)
    alpha[size[0] // 2, size[1] // 2] = 1
    colours = np.empty((*size, 3), kind)
    colours[...] = np.array([200, 100, 50], kind)
    junk = draw.integers(0, top, colours.shape).astype(kind)
    given = np.where(alpha[..., None] > 0, colours, junk)
    before = given.copy()
    assert (filled(given, alpha) == colours).all()
    assert (given == before).all()


def test_fill_is_of_near_pixels_and_leaves_visible_ones_alone() -> None:
    pixels = photo(24, 40)
    pixels[:, :12], pixels[:, 28:] = (250, 0, 0), (0, 0, 250)
    alpha = np.full((24, 40), 255, np.uint8)
    alpha[:, 12:28] = 0
    result = filled(pixels, alpha)
    assert (result[alpha > 0] == pixels[alpha > 0]).all()
    assert (result[:, 12:20] == (250, 0, 0)).all()
    assert (result[:, 20:28] == (0, 0, 250)).all()


def test_opaque_pixels_are_not_even_copied() -> None:
    pixels = photo()
    opaque = np.full(pixels.shape[:2], 255, np.uint8)
    for alpha in (opaque, np.maximum(opaque // 255, 1), np.zeros_like(opaque)):
        assert filled(pixels, alpha) is pixels


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_alpha_is_upscaled_by_lanczos_without_halos(kind: Any) -> None:
    top = int(np.iinfo(kind).max)
    alpha = np.zeros((20, 30), kind)
    alpha[5:15, 10:20] = top
    found = upscaled_alpha(alpha, (120, 80))
    assert found.dtype == kind
    # Flat beyond the pixel beside an edge: plain Lanczos rings there.
    assert (found[26:54, 46:74] == top).all()
    assert (found[:18] == 0).all()
    assert (found[:, :38] == 0).all()
    plain = Image.fromarray((alpha // (top // 255)).astype(np.uint8)).resize(
        (120, 80), Image.Resampling.LANCZOS
    )
    assert (np.asarray(plain)[26:54, 46:74] < 255).any()
    edge = np.abs(found / top * 255 - np.asarray(plain))
    assert edge.max() < 30  # elsewhere it is Lanczos
    if kind == np.uint16:
        assert len(np.unique(found)) > 30
    assert (upscaled_alpha(alpha, (30, 20)) == alpha).all()
    assert upscaled_alpha(alpha, (7, 3)).shape == (3, 7)


def test_alpha_of_16_bits_keeps_its_lower_eight(tmp_path: Path) -> None:
    values = deep_photo(channels=4)
    write_png(tmp_path / "a.png", values)
    doubled(tmp_path / "a.png", tmp_path / "b.png")
    found = read_png(tmp_path / "b.png")[..., 3]
    assert len(np.unique(found % 256)) > 200
    assert np.abs(found[::2, ::2] - values[..., 3].astype(float)).mean() < 3_000


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_transparency_becomes_white_where_a_format_has_none(tmp_path: Path, suffix: str) -> None:
    alpha = np.full((24, 40), 255, np.uint8)
    alpha[:, 20:] = 0
    image = DecodedImage(np.full((24, 40, 3), 60, np.uint8), alpha)
    (lost,) = codec.save(image, tmp_path / f"a{suffix}")
    assert "no transparency" in lost
    found = pixels(tmp_path / f"a{suffix}")
    assert np.abs(found[:, :16].astype(int) - 60).max() < 4
    assert found[:, 24:].min() > 250
    assert codec.save(replace(image, alpha=np.full_like(alpha, 255)), tmp_path / f"a{suffix}") == []


# --- profiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".tif", ".webp", pytest.param(".avif", marks=needs_avif)]
)
def test_numbers_and_their_profile_stay_together(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png", icc_profile=profiles.wide())
    doubled(tmp_path / "a.png", tmp_path / f"b{suffix}")
    with Image.open(tmp_path / f"b{suffix}") as written:
        assert written.info["icc_profile"] == profiles.wide()
        assert np.abs(np.asarray(written.convert("RGB")).astype(int) - twice(photo())).mean() < 4


def shown(file: Path) -> np.ndarray:
    """What a program that knows of profiles shows, as sRGB."""
    with Image.open(file) as image:
        image = image.convert("RGB") if image.mode in ("RGBA", "P") else image.copy()
    profile = image.info.get("icc_profile")
    if not profile:
        return np.asarray(image.convert("RGB")).astype(int)
    made = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert made
    return np.asarray(made).astype(int)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("mode", "profile"), [("L", "grey"), ("L", "wide"), ("RGB", "wide")])
def test_what_is_shown_is_the_same_in_every_format(
    tmp_path: Path, mode: str, profile: str, suffix: str
) -> None:
    """A profile of RGB on a grey image would not even be allowed in a PNG."""
    content = getattr(profiles, profile)()
    image = Image.fromarray(photo()).convert(mode)
    image.save(tmp_path / "a.jpg", icc_profile=content, quality=100, subsampling=0)
    decoded = doubled(tmp_path / "a.jpg", tmp_path / f"b{suffix}")
    assert decoded.grey == (mode == "L")
    with Image.open(tmp_path / f"b{suffix}") as written:
        kept = written.info.get("icc_profile")
        assert (kept is None) == (suffix == ".bmp")
        if kept:  # of the kind that the pixels are
            assert colour.space(kept) == ("GRAY" if written.mode == "L" else "RGB")
    as_rgb = image if profile == "grey" else image.convert("RGB")
    as_rgb.save(tmp_path / "c.png", icc_profile=content)
    difference = np.abs(shown(tmp_path / f"b{suffix}") - twice(shown(tmp_path / "c.png")))
    assert difference.mean() < LOSSY.get(suffix, 2.5)


ODD_SPACE = profiles.wide().replace(b"RGB ", b"A\nB\xff", 1)


@pytest.mark.parametrize("content", [b"none", profiles.wide()[:200], profiles.press(), ODD_SPACE])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_profile_that_does_not_fit_is_left_out(tmp_path: Path, mode: str, content: bytes) -> None:
    if mode == "CMYK" and content == profiles.press():
        content = profiles.wide()
    Image.fromarray(photo()).convert(mode).save(tmp_path / "a.jpg", icc_profile=content)
    image = doubled(tmp_path / "a.jpg", tmp_path / "b.jpg")
    (note,) = image.notes
    assert note.startswith("its colour profile is ")
    assert note.isprintable()
    assert "icc_profile" not in image.info
    with Image.open(tmp_path / "b.jpg") as written:
        assert "icc_profile" not in written.info


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_profile_broken_behind_its_header_is_left_out(tmp_path: Path, mode: str) -> None:
    broken = bytearray(profiles.wide() if mode == "RGB" else profiles.press())
    broken[128:140] = b"\xff" * 12
    image = Image.fromarray(photo()).convert(mode)
    image.save(tmp_path / "a.tif", icc_profile=bytes(broken))
    decoded = doubled(tmp_path / "a.tif", tmp_path / "b.tif")
    assert (decoded.pixels == twice(np.asarray(image.convert("RGB")))).all()
    with Image.open(tmp_path / "b.tif") as written:
        assert written.mode == mode
        assert "icc_profile" not in written.info
    assert decoded.notes == ("its colour profile is broken and was left out",)


def write_cmyk(file: Path, profile: bytes | None) -> np.ndarray:
    """Write a photograph in inks; return what it should look like."""
    inks = np.random.default_rng(3).integers(0, 200, (3, 5, 4)).repeat(8, 0).repeat(8, 1)
    image = Image.merge("CMYK", [Image.fromarray(inks[..., i].astype(np.uint8)) for i in range(4)])
    options = {"quality": 100, "subsampling": 0} if file.suffix == ".jpg" else {}
    image.save(file, icc_profile=profile, **options)
    flat = inks.reshape(-1, 4)
    light = (
        profiles.light_of(flat)
        if profile
        else 255 * (1 - flat[:, :3] / 255) * (1 - flat[:, 3:] / 255)
    )
    return light.reshape(24, 40, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("pressed", [True, False], ids=["profile", "none"])
def test_inks_become_srgb_and_inks_again(tmp_path: Path, suffix: str, pressed: bool) -> None:
    profile = profiles.press() if pressed else None
    expected = write_cmyk(tmp_path / f"a{suffix}", profile)
    image = codec.read(tmp_path / f"a{suffix}")
    assert np.abs(image.pixels - expected).mean() < 3
    for out in (".jpg", ".tif"):
        assert doubled(tmp_path / f"a{suffix}", tmp_path / f"b{out}").notes == ()
        with Image.open(tmp_path / f"b{out}") as written:
            assert written.mode == "CMYK"
            assert written.info.get("icc_profile") == profile
            inks = np.asarray(written).reshape(-1, 4).astype(float)
        light = (
            profiles.light_of(inks)
            if pressed
            else 255 * (1 - inks[:, :3] / 255) * (1 - inks[:, 3:] / 255)
        )
        assert np.abs(light.reshape(48, 80, 3) - twice(expected)).mean() < 6
    for out in (".png", ".webp", ".bmp"):
        lost = codec.save(image, tmp_path / f"c{out}")
        assert f"{formats.WRITTEN[out]} holds no CMYK: it is sRGB now" in lost
        assert np.abs(shown(tmp_path / f"c{out}") - expected).mean() < 5
        with Image.open(tmp_path / f"c{out}") as written:
            tagged = written.info.get("icc_profile") == colour.srgb()
            assert tagged == (pressed and out != ".bmp")


def test_black_ink_stays_black_ink(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 0, 0, 200)).save(tmp_path / "a.tif")
    doubled(tmp_path / "a.tif", tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as written:
        assert written.getpixel((5, 5)) == (0, 0, 0, 200)


def test_inks_of_a_jpeg_that_photoshop_writes(tmp_path: Path) -> None:
    """Adobe's are upside down (0 is all ink), marked or as YCCK; Pillow writes the first kind."""
    expected = write_cmyk(tmp_path / "a.jpg", None)
    content = (tmp_path / "a.jpg").read_bytes()
    marker = content.index(b"Adobe") + 11
    assert content[marker] == 0  # CMYK; 2 would be YCCK
    assert np.abs(codec.read("x", content).pixels - expected).mean() < 3
    # Of YCCK, libjpeg turns the first three over again: no ink is YCC's black, (0, 128, 128).
    ycck = Image.merge("CMYK", [Image.new("L", (16, 16), v) for v in (255, 127, 127, 128)])
    ycck.save(tmp_path / "b.jpg", quality=100)
    content = bytearray((tmp_path / "b.jpg").read_bytes())
    content[content.index(b"Adobe") + 11] = 2
    assert np.abs(codec.read("x", bytes(content)).pixels.astype(int) - 127).max() < 4


def test_srgb_is_the_same_bytes_every_time() -> None:
    program = (
        "from srkit.imaging import colour; import hashlib; "
        "print(hashlib.sha256(colour.srgb()).hexdigest())"
    )
    other = subprocess.check_output([sys.executable, "-c", program], text=True).strip()
    assert other == hashlib.sha256(colour.srgb()).hexdigest()


WHITE = (31_270, 32_900)
P3 = struct.pack(">8I", *WHITE, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)
BT709 = struct.pack(">8I", *WHITE, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
GAMMA = struct.pack(">I", 45_455)
# What the chunks of a PNG make of (200, 100, 50), and of a grey 55, in sRGB.
CHUNKS = {
    "linear": ({b"gAMA": struct.pack(">I", 100_000)}, (228, 168, 122), 128),
    "linear, cICP": ({b"cICP": bytes([1, 8, 0, 1])}, (228, 168, 122), 128),
    "P3, cICP": ({b"cICP": bytes([12, 13, 0, 1]), b"gAMA": GAMMA}, (215, 93, 31), 55),
    "P3, cHRM": ({b"cHRM": P3}, (215, 93, 31), 55),
    "P3, cHRM and gAMA": ({b"cHRM": P3, b"gAMA": GAMMA}, (216, 93, 24), 55),
    "sRGB": ({b"sRGB": b"\0", b"gAMA": struct.pack(">I", 100_000)}, (200, 100, 50), 55),
    "as sRGB": ({b"cHRM": BT709, b"gAMA": GAMMA}, (200, 100, 50), 55),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("case", CHUNKS)
def test_colours_that_the_chunks_of_a_png_say_are_shown(
    tmp_path: Path, case: str, suffix: str
) -> None:
    chunks, colours, grey = CHUNKS[case]
    about = PngInfo()
    for name, content in chunks.items():
        about.add(name, content)
    for given, expected in (((200, 100, 50), colours), (55, (grey,) * 3)):
        image = Image.new("RGB" if isinstance(given, tuple) else "L", (8, 8), given)
        image.save(tmp_path / "a.png", pnginfo=about)
        decoded = doubled(tmp_path / "a.png", tmp_path / f"b{suffix}")
        assert decoded.channels == len(image.getbands())
        assert ("icc_profile" in decoded.info) == ("sRGB" not in case and expected[0] != 55)
        difference = np.abs(shown(tmp_path / f"b{suffix}") - expected)
        assert difference.max() <= LOSSY.get(suffix, 1.0)


def test_colours_that_fit_no_profile_are_noted(tmp_path: Path) -> None:
    about = PngInfo()
    about.add(b"cHRM", bytes(32))
    Image.fromarray(photo()).save(tmp_path / "a.png", pnginfo=about)
    assert codec.read(tmp_path / "a.png").notes == (
        "what it says of its colours fits no profile and was left out",
    )


def test_texts_of_one_name_are_noted(tmp_path: Path) -> None:
    about = PngInfo()
    for text in ("one", "two"):
        about.add_text("Author", text)
    Image.fromarray(photo()).save(tmp_path / "a.png", pnginfo=about)
    decoded = codec.read(tmp_path / "a.png")
    assert decoded.info["text"] == {"Author": "two"}
    assert decoded.notes == ("of PNG texts of one name, all but the last were left out",)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_equal_channels_stay_equal(kind: Any) -> None:
    equal = np.repeat(deep_photo(channels=1).astype(kind), 3, axis=2)
    made = DecodedImage(equal).upscaled(deep_photo(48, 80).astype(kind))
    assert (made.pixels == made.pixels[..., :1]).all()
    assert (made.channels, len(np.unique(made.pixels)) > 9) == (3, True)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_hidden_colours_change_nothing(tmp_path: Path, suffix: str) -> None:
    """The same cut-out with other colours under its transparency is the same image."""
    alpha = np.zeros((24, 40), np.uint8)
    alpha[6:18, 10:30] = 255
    found = []
    for hidden in (0, 255):
        colours = np.where(alpha[..., None] > 0, photo(), np.uint8(hidden))
        image = Image.fromarray(np.dstack([colours, alpha]))
        options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
        image.save(tmp_path / f"a{suffix}", **options)
        found += [codec.read(tmp_path / f"a{suffix}").rgb, codec.unpack(image).rgb]
    assert len({image.tobytes() for image in found}) == 1


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_canvas_is_written_as_other_pixels_are(tmp_path: Path, suffix: str, kind: Any) -> None:
    pixels = deep_photo().astype(kind)
    drawn = canvas(2, (40, 24), pixels.dtype)[1]
    drawn[...] = pixels
    for alpha, grey in itertools.product((None, pixels[..., 0] // 2), (False, True)):
        files = [tmp_path / f"{name}{suffix}" for name in ("canvas", "plain")]
        for file, values in zip(files, (drawn, pixels), strict=True):
            codec.save(DecodedImage(values, alpha, grey), file)
        assert files[0].read_bytes() == files[1].read_bytes()


def test_encoders_read_a_canvas_where_it_lies() -> None:
    drawn = canvas(2, (40, 24), np.dtype(np.uint8))
    drawn[...] = 0
    opaque, clear = (
        DecodedImage(pixels, alpha).to_8_bit_image()
        for pixels, alpha in zip(drawn, (None, np.full((24, 40), 9, np.uint8)), strict=True)
    )
    drawn[...] = np.stack([photo(), photo()[::-1]])
    assert (np.asarray(opaque) == photo()).all()
    if hasattr(clear.im, "setmode"):  # Pillow 13 and newer copy it when alpha is put in
        assert (np.asarray(clear)[..., :3] == photo()[::-1]).all()
    assert clear.getextrema()[3] == (9, 9)
    part = as_image(drawn[0][5:, 3:])  # not a whole one
    assert (np.asarray(part) == photo()[5:, 3:]).all()


def test_the_image_of_a_result_can_be_drawn_on() -> None:
    image = DecodedImage(canvas(1, (40, 24), np.dtype(np.uint8))[0]).to_image()
    pixels = image.load()
    assert pixels is not None
    pixels[2, 3] = (1, 2, 3)
    assert image.copy().getpixel((2, 3)) == (1, 2, 3)
