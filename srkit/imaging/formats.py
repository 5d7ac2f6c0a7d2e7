"""Which image files can be read and written, what each format holds, and where files lie."""

from __future__ import annotations

import os
from collections import deque
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import Image, features

from srkit.errors import InputError, OptionError, one_line

# By suffix, as Pillow calls them; AVIF as this Pillow was built.
WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    **({".avif": "AVIF"} if features.check("avif") else {}),
}
WRITABLE = frozenset(WRITTEN)
HEIF_SUFFIXES = (".heic", ".heif")
# Never a dependency: their wheels bring x265, which is under the GPL.
HEIF_READERS = ("pillow_heif", "pi_heif")
# Read, and written as PNG; Pillow reads more, which are taken where they are named.
_READ_ONLY = frozenset({".gif", ".tga", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"})
SUFFIXES = (
    WRITABLE
    | _READ_ONLY
    | (frozenset(HEIF_SUFFIXES) if any(map(find_spec, HEIF_READERS)) else set())
)

# Pixels along a side: of libjpeg, of the format, and of what AVIF's readers take by default.
LONGEST = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 32_768, "PNG": 2**31 - 1, "BMP": 2**31 - 1}
MOST = {"AVIF": 16_384 * 16_384, "BMP": (2**32 - 2**16) // 3}  # pixels in all
MARKER = 65_533  # bytes that a segment of a JPEG holds

# Refuses decompression bombs before they are decoded, below where Pillow would (178,956,970).
MAX_PIXELS = 150_000_000

OPAQUE = ("JPEG", "BMP")  # as far as Pillow writes them
INKS = ("JPEG", "TIFF")
DEEP = ("PNG", "TIFF")  # 16 bits a channel

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


def format_of(file: Path) -> str:
    """Return what Pillow calls the format of a file to be written, or raise InputError."""
    suffix = file.suffix.lower()
    if suffix not in WRITTEN:
        raise InputError(f"{file}: can't write '{suffix}', only {', '.join(sorted(WRITTEN))}")
    return WRITTEN[suffix]


def suffix_of(content: bytes) -> str:
    """Return the suffix of an image file's format; PNG's if it can't be written or isn't known."""
    try:
        with Image.open(BytesIO(content)) as image:
            name = "JPEG" if image.format == "MPO" else image.format
    except (OSError, Image.DecompressionBombError):  # whoever reads it says what it is
        name = None
    return next((suffix for suffix, known in WRITTEN.items() if known == name), ".png")


def suffix_named(name: str) -> str:
    """Return the suffix of a format's name, ``png`` or ``.png``, or raise OptionError."""
    suffix = f".{name.lower().removeprefix('.')}"
    if suffix not in WRITABLE:
        known = ", ".join(each[1:] for each in sorted(WRITABLE))
        raise OptionError(f"can't write '{name}', only {known}")
    return suffix


def require_readable(width: int, height: int) -> None:
    """Raise InputError for an image without pixels, or with more than are decoded."""
    if width < 1 or height < 1:
        raise InputError("not a readable image (it has no pixels)")
    if width * height > MAX_PIXELS:
        raise InputError(f"{width}x{height} pixels are too many")


def require_encodable(file: Path, size: tuple[int, int]) -> None:
    """Raise InputError where the format of a file's suffix can't hold this width and height."""
    name = format_of(file)
    longest = LONGEST.get(name, 2**32 - 1)
    width, height = size
    if max(size) > longest or width * height > MOST.get(name, longest**2):
        most = f"{longest} pixels a side"
        if name in MOST:
            most += f" and {MOST[name] // 10**6} million in all"
        raise InputError(f"{file}: {name} holds {most}, not {width}x{height}; write .png or .tif")


def is_heif(head: bytes) -> bool:
    """Return whether a file that begins like this is HEIF, of another kind than AVIF."""
    if head[4:8] != b"ftyp":
        return False
    brands = {head[at : at + 4] for at in range(8, 64, 4)}
    return bool(brands & _HEIF_BRANDS) and not brands & _AVIF_BRANDS


def listed(
    folder: Path, others: list[Path] | None = None, *, may_be_empty: bool = False
) -> list[Path]:
    """Return the image files below a folder, sorted by path, but for hidden ones.

    Links to folders are followed, each folder once. Links to nothing are listed too: who reads
    them says that they are broken. ``others`` takes files that are no images by their suffix.

    Raises:
        InputError: There is no such folder, no image in it (unless it may be empty), or a folder
            that can't be read.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - says no where Path.is_dir may not look
        raise InputError(f"{folder}: no such folder")
    files: list[str] = []
    left = deque([str(folder)])  # links last: a folder's own path counts, not a link to it
    seen: set[tuple[int, int]] = set()  # links could go round in circles
    while left:
        for place, folders, names in os.walk(left.popleft(), onerror=_refuse):
            state = os.stat(place)  # noqa: PTH116
            if (state.st_dev, state.st_ino) in seen:
                folders.clear()
                continue
            seen.add((state.st_dev, state.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = [os.path.join(place, name) for name in folders]  # noqa: PTH118
            left.extend(path for path in paths if os.path.islink(path))  # noqa: PTH114
            for name in names:
                path = os.path.join(place, name)  # noqa: PTH118
                if name.startswith("."):
                    continue
                if os.path.splitext(name)[1].lower() not in SUFFIXES:  # noqa: PTH122 - of millions
                    if others is not None:
                        others.append(Path(path))
                elif os.path.isfile(path) or not os.path.exists(path):  # noqa: PTH110, PTH113
                    files.append(path)
    if not files and not may_be_empty:
        raise InputError(f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))})")
    files.sort(key=lambda file: os.path.normcase(file).split(os.sep))  # noqa: PTH206 - as Path
    return [Path(file) for file in files]


def _refuse(error: OSError) -> None:
    why = one_line(error)
    raise InputError(f"{error.filename}: can't look into this folder ({why})") from error
