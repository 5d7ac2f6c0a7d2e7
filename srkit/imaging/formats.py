"""Which picture files can be read and written, how large they may be, and where they lie."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from PIL import features

from srkit.errors import InputError

# By suffix, as Pillow calls them; AVIF as this Pillow was built.
WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
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
SUFFIXES = WRITABLE | (frozenset(HEIF_SUFFIXES) if any(map(find_spec, HEIF_READERS)) else set())

# Pixels along a side: of libjpeg, of the format, and of what AVIF's readers take by default.
LONGEST = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 32_768, "PNG": 2**31 - 1, "BMP": 2**31 - 1}
MOST = {"AVIF": 16_384 * 16_384, "BMP": (2**32 - 2**16) // 3}  # pixels in all

_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".mpg", ".mpeg", ".flv")
_VIDEO_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska and WebM
    b"\x00\x00\x01\xba",  # MPEG
    b"\x00\x00\x01\xb3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # Windows Media
    b"FLV\x01",
)
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip")  # where there is no ftyp


def format_of(file: Path) -> str:
    """Return what Pillow calls the format of a file to be written.

    Raises:
        InputError: The suffix is of no format that can be written.
    """
    suffix = file.suffix.lower()
    if suffix not in WRITTEN:
        raise InputError(f"{file}: can't write '{suffix}', only {', '.join(sorted(WRITTEN))}")
    return WRITTEN[suffix]


def require_writable(file: Path, size: tuple[int, int]) -> None:
    """See that a picture can become a file before hours go into its pixels.

    Args:
        file: Need not exist, nor its folder.
        size: Width and height in pixels.

    Raises:
        InputError: The suffix is of no format that can be written, the format has no room for
            so many pixels, the name is too long, or the folder can't be written.
    """
    name = format_of(file)
    longest = LONGEST.get(name, 2**32 - 1)
    width, height = size
    if max(size) > longest or width * height > MOST.get(name, longest**2):
        most = f"{longest} pixels a side"
        if name in MOST:
            most += f" and {MOST[name] // 10**6} million in all"
        raise InputError(f"{file}: {name} holds {most}, not {width}x{height}; write .png or .tif")
    try:
        file.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InputError(f"can't write {file}: {error.strerror or error}") from error
    if file.is_dir():
        raise InputError(f"can't write {file}: it is a folder")
    folder = next((above for above in file.absolute().parents if above.exists()), None)
    if folder and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise InputError(f"can't write {file}: no permission to write in {folder}")


def refusal(file: Path | str, head: bytes) -> str:
    """Return why Pillow knows nothing of a file, or ``""``.

    Args:
        file: Its name.
        head: Its first bytes, 64 where it has so many.
    """
    if is_heif(head):
        return "HEIF needs another package: pip install pillow-heif"
    video = (
        head.startswith(_VIDEO_STARTS)
        or (head[:4], head[8:12]) == (b"RIFF", b"AVI ")
        or (head[4:8] == b"ftyp" and not _brands(head) & _AVIF_BRANDS)
        or head[4:8] in _QUICKTIME
    )
    if video or str(file).lower().endswith(_VIDEO_SUFFIXES):
        return "video is not supported"
    return ""


def is_heif(head: bytes) -> bool:
    """Return whether a file that begins like this is HEIF, of another kind than AVIF."""
    brands = _brands(head)
    return bool(brands & _HEIF_BRANDS) and not brands & _AVIF_BRANDS


def is_lossless_webp(encoded: bytes) -> bool:
    """Return whether the pixels of a WebP file are those that went in."""
    at = 12
    while at + 8 <= len(encoded):
        name = encoded[at : at + 4]
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8L"
        at += 8 + (length := int.from_bytes(encoded[at + 4 : at + 8], "little")) + length % 2
    return False


def _brands(head: bytes) -> set[bytes]:
    """Return what an ISO base media file says it is, as far as ``head`` goes."""
    return {head[at : at + 4] for at in range(8, len(head), 4)} if head[4:8] == b"ftyp" else set()


def listed(folder: Path) -> list[Path]:
    """Return the picture files below a folder, sorted by path, but for hidden ones.

    Raises:
        InputError: There is no such folder, no picture in it, or a folder that can't be read.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - says no where Path.is_dir may not look
        raise InputError(f"{folder}: no such folder")
    found: list[str] = []
    left = [str(folder)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:  # Path.rglob takes ten times as long
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):  # nor could links go round in circles
                        left.append(entry.path)
                    elif _has_suffix(entry.name) and entry.is_file():
                        found.append(entry.path)
        except OSError as error:
            why = error.strerror or error
            raise InputError(f"{error.filename}: can't look into this folder ({why})") from error
    if not found:
        raise InputError(f"{folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
    found.sort(key=lambda file: os.path.normcase(file).split(os.sep))  # noqa: PTH206 - as Path
    return [Path(file) for file in found]


def _has_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - there may be millions
