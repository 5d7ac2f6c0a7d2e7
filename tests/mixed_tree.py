"""A tree of files as a phone, a scanner and an image generator leave them, made for tests."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import carriers
import numpy as np
import skimage.data
import tifffile
from carriers import MAKERS, Contents, encoded
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_metadata import XMP, exif_of_a_camera

EXTRAS = (
    "gain map",
    "video of a motion photo",
    "depth map",
    "Content Credentials (C2PA)",
    "further images (MPF), attached files",
    "extended XMP",
    "panorama (GPano)",
)
Made = tuple[str, bytes, str]  # a name's suffix, the file, and what must become of it


def picture(draw: random.Random) -> Image.Image:
    """A crop of a photograph of skimage's, as large as the files of carriers."""
    left, top = draw.randrange(400), draw.randrange(400)
    whole = Image.fromarray(skimage.data.astronaut())
    return whole.crop((left, top, left + carriers.SIZE[0], top + carriers.SIZE[1]))


def phone(draw: random.Random) -> Made:
    """A photo with all a camera writes; some with a gain map, a video, a depth map; or a clip."""
    kind = draw.randrange(10)
    options = {"exif": exif_of_a_camera(draw.choice([1, 1, 3, 6, 8])), "dpi": (72, 72)}
    if kind == 0:
        return draw.choice([".mov", ".MP4", ".aae"]), b"no image", "ignored"
    if kind == 1:
        return ".gif", MAKERS["frames"]("GIF"), "animated images are not supported"
    if kind in (2, 3, 4):
        name = draw.choice(EXTRAS)
        return draw.choice([".jpg", ".JPG", ".jpeg"]), MAKERS[name]("JPEG"), f"row {name}"
    source = draw.choice(["JPEG", "JPEG", "JPEG", "WEBP", "PNG"])
    if source == "JPEG":
        options["xmp"] = XMP % (1, 40, 24)
    content = encoded(source, Contents(options), picture(draw))
    return carriers.SUFFIXES[source], content, "row EXIF"


def scanner(draw: random.Random) -> Made:
    """A scan of 8 or 16 bits, grey or not; some of several pages, some cut off, some not whole."""
    kind = draw.randrange(8)
    image = picture(draw)
    if kind == 0:
        return ".tif", MAKERS["pages"]("TIFF"), "row pages"
    if kind == 1:
        whole = encoded("TIFF", Contents({"dpi": (300, 150)}), image)
        return ".tif", whole[: len(whole) // 3], "not a readable image"
    if kind == 2:
        return ".bmp", encoded("BMP", Contents({"dpi": (300, 150)}), image), "row resolution"
    if kind == 3:
        return draw.choice([".xml", ".pdf", ".txt"]), b"no image", "ignored"
    if kind == 4:
        values, stream = np.asarray(image).astype(np.uint16) * 257, io.BytesIO()
        tifffile.imwrite(stream, values, photometric="rgb", resolution=(300, 150), metadata=None)
        return ".tif", stream.getvalue(), "done"
    if kind == 5:
        return ".tif", encoded("TIFF", Contents({"dpi": (300, 150)}), image), "row resolution"
    image, stream = image.convert(draw.choice(["L", "1", "P"])), io.BytesIO()
    image.save(stream, "TIFF", dpi=(300, 150), compression=draw.choice([None, "tiff_lzw"]))
    return ".TIF", stream.getvalue(), "row resolution"


def generator(draw: random.Random) -> Made:
    """An image with its prompt; some with alpha, some empty or another format than their name."""
    kind = draw.randrange(7)
    if kind == 0:
        return ".png", b"", "not a readable image"
    if kind == 1:
        return ".json", b"{}", "ignored"
    if kind == 2:
        return ".png", encoded("WEBP", Contents(), picture(draw)), "done"
    info = PngInfo()
    info.add_text("parameters", "a face\nSteps: 20")
    image = picture(draw)
    if kind == 3:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return ".png", encoded("PNG", Contents({"pnginfo": info}), image), "row text chunks"


WHO: dict[str, Callable[[random.Random], Made]] = {
    "DCIM/100": phone,
    "scans/box": scanner,
    "outputs/txt2img": generator,
}


def make(root: Path, count: int) -> dict[Path, tuple[str, bytes]]:
    """Write a tree of so many files; return what must become of each, and its bytes.

    That is ``ignored``, ``done``, ``row NAME`` of `srkit.imaging.carried`, or a part of an error.
    """
    draw = random.Random(0)
    files = {}
    while len(files) < count:
        place = draw.choice(list(WHO))
        suffix, content, fate = WHO[place](draw)
        # Few names, so that some differ in their suffix alone.
        name = f"{place}{draw.randrange(4)}/IMG_{draw.randrange(count):04}{suffix}"
        file = root / name
        if any(file.parent.glob(f"{file.stem}.*")) and draw.random() < 0.5:
            continue
        if file not in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            time = 1_600_000_000 + len(files)
            os.utime(file, (time, time))
            files[file] = (fate, content)
    return files
