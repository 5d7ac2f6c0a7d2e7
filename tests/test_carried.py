"""The table of what files carry is true: files for each cell are upscaled and read by others."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from carriers import C2PA, MAKERS, SIZE, SUFFIXES, VIDEO
from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base
from profiles import wide
from test_metadata import CAPTION, MAKERS_NOTE, described_by, found, thumbnail, turns

from srkit.errors import InputError
from srkit.imaging import carried, codec, colour
from srkit.imaging.carried import CORRECTED, ITEMS, KEPT, NOTED

# That of the modification time is in test_batch.py: it isn't in the file. That of HEIF without a
# reader is in test_formats.py.
# All but the first format of a row take long.
ROWS = [
    pytest.param(item.name, source, marks=[pytest.mark.long] * (place > 0))
    for item in ITEMS
    if "--" not in item.name and "without" not in item.name
    for place, source in enumerate(item.sources.split())
]


def shown(file: Path) -> np.ndarray:
    """The middle pixel in sRGB, as a program that knows profiles would show it."""
    with Image.open(file) as image:
        content, image = image.info.get("icc_profile"), image.convert("RGB")
    if content:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        image = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"))
    return np.asarray(image)[12, 20].astype(int)


def p3() -> np.ndarray:
    """What (200, 100, 50) in Display P3 is in sRGB, by hand."""
    linear = (np.array([200, 100, 50]) / 255 + 0.055) / 1.055
    matrix = np.array([[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0197, -0.0786, 1.0979]])
    light = (matrix @ linear**2.4).clip(0, 1)
    return (255 * (1.055 * light ** (1 / 2.4) - 0.055)).round().astype(int)


def note_is_in_place(file: Path, given: bytes) -> bool:
    """Whether a maker's note lies as far behind the beginning of EXIF as it did."""

    def place(content: bytes) -> int:
        if content[:4] not in (b"II*\0", b"MM\0*"):
            with Image.open(io.BytesIO(content)) as image:
                content = image.info["exif"].removeprefix(b"Exif\0\0")
        return content.find(MAKERS_NOTE)

    return place(file.read_bytes()) == place(given) > 0


def has(name: str, file: Path, given: bytes, target: str) -> bool:
    """Whether a result has what the table calls so, true of the result."""
    content = file.read_bytes()
    with Image.open(file) as image:
        image.load()
        info, size = dict(image.info), image.size
    exif = found(file)[0] if target not in ("BMP",) else Image.Exif()
    xmp = info.get("xmp") or b""
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    checks: dict[str, Callable[[], Any]] = {
        "colour profile (ICC)": lambda: info.get("icc_profile") == wide() or target == "BMP",
        "colours by `cICP`, `cHRM`, `gAMA`": lambda: True,
        "HDR: `cICP` of PQ or HLG, `mDCV`, `cLLI`": lambda: all(
            name in content for name in (b"cICP\x09\x10\0\1", b"mDCV", b"cLLI")
        ),
        "EXIF": lambda: (
            exif.get(Base.Make) == "A camera" and exif.get_ifd(IFD.Exif)[Base.ExifImageWidth] == 80
        ),
        "maker's note, with its offsets": lambda: target != "BMP" and note_is_in_place(file, given),
        "place (GPS)": lambda: exif.get_ifd(IFD.GPSInfo).get(GPS.GPSAltitude) == 3.5,
        "orientation": lambda: size == (48, 80) and (target == "BMP" or not turns(file)),
        "thumbnails": lambda: thumbnail() not in content,
        "XMP": lambda: all(
            text in xmp for text in (b'xmp:Rating="4"', b'tiff:ImageWidth="80"', b'Dimension="48"')
        ),
        "extended XMP": lambda: b'xmp:Label="extended"' in xmp and b"HasExtended" not in xmp,
        "regions, such as faces": lambda: b'stDim:w="80"' in xmp and b'stDim:h="48"' in xmp,
        "panorama (GPano)": lambda: b"FullPano" in content,
        "IPTC": lambda: CAPTION in content or described_by(file)["iptc"] == CAPTION[5:],
        "comment": lambda: described_by(file)["comment"] == b"box 3",
        "text chunks": lambda: described_by(file)["text"] == {"parameters": "a face\nSteps: 20"},
        "resolution": lambda: info.get("dpi") == pytest.approx((300, 150), abs=0.1),
        "pages": lambda: getattr(image, "n_frames", 1) > 1,
        "gain map": lambda: re.search(rb"GainMap|hdrgm|21496|tmap", content),
        "video of a motion photo": lambda: VIDEO[4:12] in content,
        "depth map": lambda: b"GDepth" in content,
        "further images (MPF), attached files": lambda: b"MPF\0" in content,
        "Content Credentials (C2PA)": lambda: re.search(
            b"caBX|C2PA|jumb|" + re.escape(C2PA), content
        ),
        "description of an OME or ImageJ stack": lambda: b"ImageJ" in content,
        "further channels": lambda: len(image.getbands()) > 3,
        "place on a map (GeoTIFF)": lambda: (
            target == "TIFF" and 33_550 in tifffile.TiffFile(io.BytesIO(content)).pages[0].tags
        ),
        "Photoshop's layers, paths, settings": lambda: b"path" in content,
        "unknown parts": lambda: re.search(rb"prVt|QQQQ|qqqq|unknown|XMP Data", content),
    }
    return bool(checks[name]())


@pytest.mark.parametrize(("name", "source"), ROWS)
def test_a_row_of_the_table_is_true(tmp_path: Path, name: str, source: str) -> None:
    item, given = carried.BY_NAME[name], MAKERS[name](source)
    if item.refused:
        with pytest.raises(InputError, match="animated images are not supported"):
            codec.read("a", given)
        return
    image = codec.read("a", given)
    image = image.upscaled(image.pixels.repeat(2, 0).repeat(2, 1))
    what = [each.what for each in (item, carried.BY_KEY.get(item.within)) if each and each.what]
    for target in carried.TARGETS:
        outcome = item.outcome(source, target)
        file = tmp_path / f"b{SUFFIXES[target]}"
        notes = [*image.notes, *codec.save(image, file)]
        about = [note for note in notes if any(each in note for each in what)]
        assert (about != []) == (outcome == NOTED), (target, notes)
        assert has(name, file, given, target) == (outcome in (KEPT, CORRECTED)), target
        if name.startswith("colour"):
            expected = shown_before(given, source, tmp_path) if "ICC" in name else p3()
            tolerance = 2 if target in ("PNG", "TIFF", "BMP") else 6
            if source == "TIFF" and "ICC" not in name:
                tolerance = 8  # of gamma 2.2, not on sRGB's curve
            assert np.abs(shown(file) - expected).max() <= tolerance, target


def shown_before(given: bytes, source: str, folder: Path) -> np.ndarray:
    if source in ("BMP", "GIF"):  # whose profile Pillow doesn't read
        image = Image.open(io.BytesIO(given)).convert("RGB")
        return np.asarray(colour.to_srgb(image, wide()))[12, 20].astype(int)
    (folder / "a").write_bytes(given)
    return shown(folder / "a")


def test_every_row_has_a_file() -> None:
    assert set(MAKERS) == {row.values[0] for row in ROWS}
    assert {row.values[1] for row in ROWS} == set(carried.SOURCES)
    assert SIZE == (40, 24)
