"""Broken images among good ones: every one is named or written, and none stops the others."""

from __future__ import annotations

import io
import json
import random
import re
import resource
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import tifffile
from forks import Fork
from PIL import Image, features
from profiles import press, wide

from srkit.cli import main
from srkit.imaging import codec
from srkit.imaging.codec import DecodedImage

SIZE = (24, 16)
SUFFIXES = [".png", ".jpg", ".webp", ".tif", ".bmp", *([".avif"] if features.check("avif") else [])]
MEMORY = 4 << 30  # bytes beyond what the process had: images of 150 MP are read, two at once
FORMATS = [*SUFFIXES, ".gif"]  # folders are searched for the others alone
TIMEOUT = 600  # seconds for a folder, of which starting takes about five


def photo() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[30:110:5, 180:300:5])


def deep() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3))
    return (photo().astype(np.uint16) << 8) + noise.astype(np.uint16)


def encoded(image: Image.Image, name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def tiff(values: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Whole images of every format and of many kinds, by suffix."""
    rgb = Image.fromarray(photo())
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "A camera", {0xA002: 24, 0xA003: 16}
    about = {"exif": exif.tobytes(), "icc_profile": wide(), "dpi": (300, 300)}
    codec.save(DecodedImage(deep()), folder / "deep.png")
    codec.save(DecodedImage(deep(), deep()[..., 0]), folder / "deep-alpha.png")
    every = {
        ".png": [
            *(encoded(rgb.convert(mode), "png") for mode in ("1", "L", "LA", "RGB")),
            encoded(rgba, "png", **about),
            encoded(rgb.quantize(16), "png", transparency=bytes(range(0, 160, 10))),
            *((folder / name).read_bytes() for name in ("deep.png", "deep-alpha.png")),
        ],
        ".jpg": [
            encoded(rgb, "jpeg", **about),
            encoded(rgb.convert("L"), "jpeg", progressive=True),
            encoded(rgb.convert("CMYK"), "jpeg", icc_profile=press()[:20_000]),
        ],
        ".webp": [encoded(rgb, "webp"), encoded(rgba, "webp", lossless=True)],
        ".tif": [
            encoded(rgb, "tiff", **about),
            encoded(rgba, "tiff", compression="tiff_lzw"),
            encoded(rgb.convert("CMYK"), "tiff", compression="tiff_adobe_deflate"),
            encoded(rgb, "tiff", compression="jpeg"),
            tiff(deep(), photometric="rgb"),
            tiff(deep(), photometric="rgb", compression="zlib", predictor=True, byteorder=">"),
            tiff(deep(), photometric="rgb", tile=(16, 16)),
            tiff(
                deep()[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=[2]
            ),
            tiff((deep() / 65_535).astype(np.float32), photometric="rgb"),
        ],
        ".bmp": [encoded(rgb, "bmp"), encoded(rgb.quantize(16), "bmp")],
        ".avif": [encoded(rgb, "avif"), encoded(rgba, "avif", exif=exif.tobytes())]
        if len(SUFFIXES) > 5
        else [],
        ".gif": [encoded(rgb.quantize(16), "gif"), encoded(rgb.convert("L"), "gif")],
    }
    return {suffix: every[suffix] for suffix in FORMATS}


def bomb(width: int, height: int, draw: random.Random) -> bytes:
    """A small PNG or BMP that says it is a large one."""
    if draw.random() < 0.5:
        return encoded(Image.new("RGB", (1, 1)), "bmp").replace(
            struct.pack("<ii", 1, 1), struct.pack("<ii", width, height)
        )
    body = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", width, height, draw.choice([8, 16]), 2, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(2000))), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + name + data
        body += struct.pack(">I", zlib.crc32(name + data))
    return body


def moving() -> bytes:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue")]
    return encoded(frames[0], "png", save_all=True, append_images=frames[1:])


@dataclass(frozen=True)
class Case:
    """A file of a folder, and what must become of it: True written, False named, None either."""

    name: str
    content: bytes
    good: bool | None


class Mutations:
    """Files that are broken in many ways, the same ones for a seed."""

    def __init__(self, whole: dict[str, list[bytes]], seed: int) -> None:
        self.draw = random.Random(seed)
        self.whole = whole
        self.kinds: list[Callable[[bytes], tuple[bytes, bool | None]]] = [
            *(self.cut, self.flipped, self.flipped, self.spliced, self.zeroed, self.without),
            *(self.doubled, self.numbered, self.numbered, self.hopeless),
        ]

    def cases(self, count: int) -> list[Case]:
        made = []
        for number in range(count):
            suffix = self.draw.choice(FORMATS)
            kind = self.draw.choice(self.kinds)
            content, good = kind(self.draw.choice(self.whole[suffix]))
            if self.draw.random() < 0.1:  # what is in a file counts, not what it is called
                suffix = self.draw.choice(FORMATS)
            made.append(Case(f"{number:04d}-{kind.__name__}{suffix}", content, good))
        return made

    def cut(self, content: bytes) -> tuple[bytes, bool | None]:
        return content[: self.draw.randrange(len(content) * 6 // 10)], False

    def flipped(self, content: bytes) -> tuple[bytes, bool | None]:
        """Change a few bits, more of them near the beginning."""
        data = bytearray(content)
        for _ in range(self.draw.randint(1, 8)):
            reach = self.draw.choice([40, 300, len(data)])
            data[self.draw.randrange(min(reach, len(data)))] ^= 1 << self.draw.randrange(8)
        return bytes(data), None

    def spliced(self, content: bytes) -> tuple[bytes, bool | None]:
        """Go on as another image."""
        other = self.draw.choice(self.whole[self.draw.choice(FORMATS)])
        return content[: self.draw.randrange(len(content))] + other[
            self.draw.randrange(len(other)) :
        ], None

    def zeroed(self, content: bytes) -> tuple[bytes, bool | None]:
        start = self.draw.randrange(len(content))
        length = self.draw.randint(1, len(content) // 2)
        return content[:start] + bytes(length) + content[start + length :], None

    def without(self, content: bytes) -> tuple[bytes, bool | None]:
        start = self.draw.randrange(len(content))
        return content[:start] + content[start + self.draw.randint(1, 40) :], None

    def doubled(self, content: bytes) -> tuple[bytes, bool | None]:
        start = self.draw.randrange(len(content))
        return content[:start] * 2 + content[start:], None

    def numbered(self, content: bytes) -> tuple[bytes, bool | None]:
        """Put a number that is at the edge of something where another one is."""
        size = self.draw.choice([1, 2, 4])
        value = self.draw.choice(
            [0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1]
        )
        start = self.draw.randrange(min(self.draw.choice([60, 400, 10**6]), len(content) - size))
        return content[:start] + value.to_bytes(
            size, self.draw.choice(["big", "little"])
        ) + content[start + size :], None

    def hopeless(self, content: bytes) -> tuple[bytes, bool | None]:
        """Not an image at all, or not one that is read."""
        side = self.draw.choice([12_300, 70_000, 2**30, 2**31 - 1])
        chosen = [
            b"",
            b"\0" * 5000,
            self.draw.randbytes(self.draw.randint(1, 5000)),
            b"not an image\n" * 20,
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
            b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(500),
            b"RIFF\0\0\1\0AVI LIST" + bytes(500),
            moving(),
            bomb(side, side, self.draw),
        ]
        return self.draw.choice(chosen), False


def run(folder: Path, *words: object) -> tuple[int, str, str]:
    """Run the real command; a file that hangs it fails the test, and so does one that fills it."""

    def call() -> int:
        status = main([str(word) for word in words])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert peak - before < MEMORY >> 10, f"{peak >> 10} MiB"
        return status

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status, printed, err = Fork(folder, call, NO_COLOR="1").end(timeout=TIMEOUT)
    assert "Traceback" not in err, err
    assert "Warning" not in err
    return status, printed, err


def laid_out(folder: Path, cases: list[Case]) -> None:
    folder.mkdir()
    for case in cases:
        (folder / case.name).write_bytes(case.content)


def check(folder: Path, out: Path, cases: list[Case], *mode: str) -> tuple[int, int]:
    """Upscale a folder; return how many of the broken images were refused, and read."""
    laid_out(folder, cases)
    others = [folder / case.name for case in cases if case.name.endswith(".gif")]
    words = ("upscale", folder, *others, "-o", out, "--model", "bicubic", "--device", "cpu")
    status, printed, err = run(out.parent, *words, *mode)
    assert status == 1, err
    # libtiff says something by itself, in pieces, which may stand before ours in a line.
    *lines, last = re.findall(r"srkit: .*", err)
    failed = set()
    for line in lines:
        (name,) = {case.name for case in cases if case.name in line}
        assert name not in failed
        failed.add(name)
    word = "image" if len(failed) == 1 else "images"
    assert last == f"srkit: {len(failed)} {word} of {len(cases)} failed"
    results = {Path(line).stem: Path(line) for line in printed.splitlines()}
    assert set(results) == {Path(case.name).stem for case in cases if case.name not in failed}
    there = {f for f in out.rglob("*") if f.is_file() and f.suffix in SUFFIXES}
    assert there == set(results.values())
    assert not [f.name for f in out.rglob("*") if f.name.endswith(".part")]
    assert {case.name for case in cases if case.good is False} <= failed
    assert not failed & {case.name for case in cases if case.good}
    for case in cases:
        if case.name not in failed:
            width, height = codec.size_of(folder / case.name)
            if width * height < 10**6:
                result = codec.read(results[Path(case.name).stem])
                assert result.size == (4 * width, 4 * height), case.name
    return len(failed), len(results)


def good_ones(count: int) -> tuple[list[Case], list[Image.Image]]:
    """Neighbours, each with another part of a photograph."""
    cases, images = [], []
    for number in range(count):
        image = Image.fromarray(photo()).rotate(7 * number, resample=Image.Resampling.BICUBIC)
        images.append(image)
        cases.append(Case(f"{number:04d}-good.png", encoded(image, "png"), True))
    return cases, images


def same_as_before(out: Path, cases: list[Case], images: list[Image.Image]) -> None:
    """See that the neighbours are what Pillow's own bicubic, in floats, makes of them."""
    for case, image in zip(cases, images, strict=True):
        size = (4 * image.width, 4 * image.height)
        bands = [band.convert("F").resize(size, Image.Resampling.BICUBIC) for band in image.split()]
        wanted = np.dstack([np.asarray(band) for band in bands]).clip(0, 255)
        with Image.open(out / case.name) as written:
            assert np.abs(np.asarray(written) - wanted).max() < 1


def test_a_few_broken_images_among_good_ones(tmp_path: Path) -> None:
    cases = Mutations(seeds(tmp_path), 0).cases(60)
    good, images = good_ones(6)
    failed, written = check(tmp_path / "given", tmp_path / "out", cases + good)
    assert failed > 20
    assert written > 12
    same_as_before(tmp_path / "out", good, images)


def test_whole_images_of_every_kind_are_written(tmp_path: Path) -> None:
    """Else their broken ones would tell nothing."""
    whole = [(suffix, c) for suffix, every in seeds(tmp_path).items() for c in every]
    cases = [Case(f"{i:02d}{suffix}", content, True) for i, (suffix, content) in enumerate(whole)]
    check(tmp_path / "given", tmp_path / "out", [*cases, Case("broken.png", b"", False)])


# Of 250 images each: 3,000 in all.
MODES: dict[str, tuple[str, ...]] = {
    "plain-1": (),
    "plain-2": (),
    "plain-3": (),
    "png": ("--format", "png", "--report"),
    "jpg": ("--format", "jpg", "--consistent"),
    "webp": ("--format", "webp", "--ensemble", "--no-tag"),
    "tif": ("--format", "tif", "--tile", "16"),
    "faces": ("--faces", "--face-model", "bicubic"),
}


@pytest.mark.drill
@pytest.mark.parametrize("mode", MODES)
def test_thousands_of_broken_images_among_good_ones(tmp_path: Path, mode: str) -> None:
    cases = Mutations(seeds(tmp_path), 1 + list(MODES).index(mode)).cases(250)
    good, images = good_ones(20)
    failed, written = check(tmp_path / "given", tmp_path / "out", cases + good, *MODES[mode])
    assert failed > 80
    assert written > 40
    if not MODES[mode]:
        same_as_before(tmp_path / "out", good, images)


def named(err: str, cases: list[Case]) -> set[str]:
    """Return which files of a folder an output names, but for remarks on those that were done."""
    text = "".join("".join(line for line in err.splitlines() if "(such as " not in line).split())
    return {case.name for case in cases if case.name in text}


@pytest.mark.drill
@pytest.mark.parametrize("verb", ["degrade", "bench", "prepare", "train"])
def test_broken_images_are_named_by_every_verb(tmp_path: Path, verb: str) -> None:
    cases = Mutations(seeds(tmp_path), 100 + len(verb)).cases(290)
    cases = [case for case in cases if not case.name.endswith(".gif")]
    good, _ = good_ones(20)
    folder, out = tmp_path / "given", tmp_path / "out"
    laid_out(folder, [*cases, *good])
    hopeless = {case.name for case in cases if case.good is False}
    if verb == "degrade":
        status, printed, err = run(tmp_path, "degrade", folder, out)
        written = {Path(line).stem for line in printed.splitlines()}
        assert status == 1, err
        assert {file.stem for file in out.rglob("*.png")} == written
        assert named(err, cases) >= hopeless
        assert len(named(err, cases)) + len(written) == len(cases) + len(good)
    elif verb == "bench":
        report = tmp_path / "report.json"
        words = ("bench", "bicubic", "--data", folder, "--json", report, "--device", "cpu")
        status, _, err = run(tmp_path, *words)
        assert status == 2, err  # a mean is over all images or over none
        (first,) = named(err, cases)
        _, _, err = run(tmp_path, "degrade", folder, out)
        broken = named(err, cases)
        assert first in broken
        for name in broken:
            (folder / name).unlink()
        status, _, err = run(tmp_path, *words)
        assert status == 0, err
        measured = set(json.loads(report.read_text())["quality"]["images"])
        assert measured == {case.name for case in [*cases, *good]} - broken
    elif verb == "prepare":
        status, _, err = run(tmp_path, "prepare", folder, out, "--device", "cpu", "--workers", "1")
        assert status in (0, 1), err
        lines = [json.loads(line) for line in next(out.rglob("*.jsonl")).read_text().splitlines()]
        assert len(lines) == len(cases) + len(good)
    else:
        words = ("train", "faces-tiny", "--data", folder, "--out", out, "--device", "cpu")
        status, _, err = run(tmp_path, *words, "--steps", 1, "--set", "data.size=32")
        assert status == 2, err
        assert re.search(r"srkit: \d+ of \d+ images are broken", err)
        for name in named(err, cases) | hopeless:
            (folder / name).unlink()
        status, _, err = run(tmp_path, *words, "--steps", 1, "--set", "data.size=32")
        assert status in (0, 2), err
    assert not list(tmp_path.rglob("*.part"))
