"""Which files are read and written, which are refused, and that a refusal is one clear line."""

from __future__ import annotations

import io
import lzma
import os
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import skimage.data
import tifffile
from forks import Fork
from PIL import Image, features

from srkit.cli import main
from srkit.errors import InputError
from srkit.files import atomic, host, require_place, sweep, write_text
from srkit.imaging import codec, decode, formats
from srkit.imaging.codec import DecodedImage

AVIF = [".avif"] if features.check("avif") else []
WRITTEN = [".png", ".jpg", ".webp", ".tif", ".bmp", *AVIF]


def photo() -> Image.Image:
    return Image.fromarray(skimage.data.astronaut()[20:84, 180:276])


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def refused(content: bytes, name: str = "x") -> str:
    with pytest.raises(InputError) as raised:
        codec.read(name, content)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{name}: ")
    return line.removeprefix(f"{name}: ")


# --- what there is ------------------------------------------------------------------------------


def test_suffixes_are_of_what_can_be_read() -> None:
    always = {".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".tif", ".tiff", ".bmp"}
    read = {".gif", ".tga", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"}
    heif = {".heic", ".heif"} if find_spec("pillow_heif") or find_spec("pi_heif") else set()
    assert always | {*AVIF} | read | heif == codec.SUFFIXES
    assert always | {*AVIF} == codec.WRITABLE


def test_listing_formats_imports_no_package_for_them() -> None:
    program = "import sys; from srkit.imaging import formats; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert not {"torch", "numpy", "tifffile", "pillow_heif", "pi_heif"} & {*loaded}


def test_what_is_in_a_file_counts_and_not_its_name() -> None:
    assert codec.read("x.jpg", encoded(photo(), "png")).size == (96, 64)
    assert codec.read("x.mp4", encoded(photo(), "png")).size == (96, 64)


@pytest.mark.parametrize("name", ["gif", "ppm", "tga", "ico"])
def test_other_stills_are_read_too(name: str) -> None:
    assert codec.read("x", encoded(photo(), name)).pixels.std() > 20


# --- HEIF ---------------------------------------------------------------------------------------

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def test_heif_without_a_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    assert refused(HEIC, "x.heic") == "HEIF needs another package: pip install pillow-heif"


def test_heif_is_read_with_its_package(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="its wheels are under the GPL: no dependency")
    file = tmp_path / "a.heic"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A phone"
    heif.from_pillow(photo()).save(file, quality=95, exif=exif.tobytes())
    script = (
        "from srkit.imaging import codec; "
        f"p = codec.read({str(file)!r}); print(p.size, p.pixels.dtype)"
    )
    fresh = subprocess.check_output([sys.executable, "-c", script], text=True)  # not yet registered
    assert fresh == "(64, 96) uint8\n"
    image = codec.read(file)
    turned = np.asarray(photo().transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert np.abs(image.pixels - turned).mean() < 4
    codec.save(image, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as written:
        assert dict(written.getexif()) == {0x010F: "A phone"}


def test_heif_of_10_bits_keeps_them(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="its wheels are under the GPL: no dependency")
    ramp = np.linspace(0, 65_535, 512).astype(np.uint16)
    values = np.broadcast_to(ramp[None, :, None], (64, 512, 3))
    heif.from_bytes("RGB;16", (512, 64), values.tobytes()).save(tmp_path / "a.heic", quality=-1)
    image = codec.read(tmp_path / "a.heic")
    assert image.pixels.dtype == np.uint16
    assert np.abs(image.pixels.astype(int) - values).max() < 400
    assert len(np.unique(image.pixels)) > 400  # 8 bits have 256
    assert image.pixels.max() > 65_400


# --- what is refused ----------------------------------------------------------------------------


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("gif", "png", "webp", *(suffix[1:] for suffix in AVIF)):
        moving = encoded(frames[0], name, save_all=True, append_images=frames[1:])
        assert refused(moving) == "animated images are not supported"
        still = encoded(frames[0], name, save_all=True)
        assert codec.read("x", still).size == (8, 8)


def png_of_size(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG that says it is large and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("size", [(15_000, 10_001), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_they_are_decoded(size: tuple[int, int], bits: int) -> None:
    assert refused(png_of_size(*size, bits)).endswith("pixels are too many")


def test_large_scans_are_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(12_500, 12_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["upscale", str(tmp_path / "a.png"), "--model", "lanczos", "--dry-run"]) == 0


@pytest.mark.parametrize("compression", ["zlib", "lzma"])
def test_a_tiff_that_unpacks_to_more_than_its_pixels_is_refused(compression: str) -> None:
    pixels = np.zeros((8, 8, 3), np.uint16)
    stream = io.BytesIO()
    bomb = {"zlib": zlib.compress, "lzma": lzma.compress}[compression](bytes(1 << 26))
    tifffile.imwrite(
        stream, iter([bomb]), shape=pixels.shape, dtype=pixels.dtype, photometric="rgb",
        compression=compression, metadata=None,
    )  # fmt: skip
    tracemalloc.start()
    assert "it unpacks to more than its pixels" in refused(stream.getvalue())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def test_a_jpeg_of_many_scans_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "jpeg", progressive=True)
    content = stream.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    assert codec.read("x.jpg", content[:-2] + last * 9 + content[-2:]).size == (16, 16)
    assert "of more than 250 scans" in refused(content[:-2] + last * 300 + content[-2:])


def test_a_bomb_that_pillow_does_not_know_is_refused() -> None:
    """Grey of 16 bits with alpha, which tifffile would allocate."""
    tags = [(256, 4, 1, 100_000), (257, 4, 1, 100_000), (258, 3, 2, 16 | 16 << 16), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 2), (278, 4, 1, 100_000)]
    tags += [(279, 4, 1, 4 * 10**9), (338, 3, 1, 2)]
    content = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    content += b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    assert refused(content) == "100000x100000 pixels are too many"


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "tiff", "bmp", *(s[1:] for s in AVIF)])
def test_a_file_that_is_cut_off_is_broken(name: str, share: float) -> None:
    content = encoded(photo(), name)
    codec.read("x", content)
    line = refused(content[: int(len(content) * share)])
    assert line.startswith("not a readable image (")


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.png: no such file$"):
        codec.read(tmp_path / "none.png")
    with pytest.raises(InputError, match=r": not a readable image \(Is a directory\)$"):
        codec.read(tmp_path)


def test_an_image_too_large_for_the_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    content = encoded(photo(), "png")
    monkeypatch.setattr(decode, "_by_mode", full)
    assert refused(content) == "too large for the memory"


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_size_is_that_of_the_upright_image(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if suffix == ".bmp" else {"exif": exif}
    photo().save(tmp_path / f"a{suffix}", **options)
    size = codec.size_of(tmp_path / f"a{suffix}")
    assert size == codec.read(tmp_path / f"a{suffix}").size
    assert size == ((64, 96) if orientation == 6 and suffix != ".bmp" else (96, 64))


def test_a_broken_image_has_no_size(tmp_path: Path) -> None:
    for content in (b"", b"none", png_of_size(30_000, 30_000)):
        with pytest.raises(InputError, match=r"^x: "):
            codec.size_of("x", content)


# --- what can't be written ----------------------------------------------------------------------


def require(file: Path, size: tuple[int, int]) -> None:
    formats.require_encodable(file, size)
    require_place(file)


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("a.gif", (4, 4), "can't write '.gif', only ."),
        ("a.heic", (4, 4), "can't write '.heic'"),
        ("a", (4, 4), "can't write ''"),
        ("a.jpg", (65_501, 4), "JPEG holds 65500 pixels a side, not 65501x4; write .png or .tif"),
        ("a.webp", (4, 16_384), "WEBP holds 16383 pixels a side, not 4x16384"),
        ("a.avif", (32_768, 32_768), "AVIF holds 32768 pixels a side and 268 million in all"),
        ("a.bmp", (50_000, 50_000), "BMP holds"),
        ("a" * 252 + ".png", (4, 4), "File name too long"),
        ("file.png/a.png", (4, 4), "can't write"),
        ("folder.png", (4, 4), "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_first(
    tmp_path: Path, name: str, size: tuple[int, int], says: str
) -> None:
    if name == "a.avif" and not AVIF:
        says = "can't write"
    (tmp_path / "file.png").touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError) as raised:
        require(tmp_path / name, size)
    assert says in str(raised.value)
    assert {file.name for file in tmp_path.iterdir()} == {"file.png", "folder.png"}


@pytest.mark.parametrize("suffix", WRITTEN)
def test_sizes_up_to_the_limit_can_be_written(tmp_path: Path, suffix: str) -> None:
    longest = formats.LONGEST.get(formats.WRITTEN[suffix], 70_000)
    size = (1, min(longest, 70_000))
    formats.require_encodable(tmp_path / f"a{suffix}", size)
    codec.save(DecodedImage(np.zeros((size[1], size[0], 3), np.uint8)), tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as written:
        assert written.size == size


def test_a_folder_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda place, how: Path(place) != tmp_path)
    with pytest.raises(InputError, match=f"no permission to write in {tmp_path}$"):
        require_place(tmp_path / "new" / "a.png")


def run(program: str, *arguments: object) -> str:
    """Run a program in a process of its own; return what it prints."""
    words = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.check_output(words, text=True, stderr=subprocess.STDOUT)


def test_a_full_disk_leaves_one_line_and_no_file(tmp_path: Path) -> None:
    program = """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from srkit.imaging import codec
        from srkit.errors import InputError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for name in sys.argv[2:]:
            kind = np.uint16 if name.startswith("deep") else np.uint8
            try:
                codec.save(codec.DecodedImage(noise.astype(kind)), Path(sys.argv[1]) / name)
            except InputError as error:
                print(error)
    """
    names = [f"a{suffix}" for suffix in WRITTEN] + ["deep.png", "deep.tif"]
    lines = run(program, tmp_path, *names).splitlines()
    assert lines == [f"can't write {tmp_path / name}: File too large" for name in names]
    assert list(tmp_path.iterdir()) == []


def test_a_canvas_is_written_without_a_copy(tmp_path: Path) -> None:
    """Encoders of WebP and AVIF hold the image once more and again, beyond us."""
    program = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from srkit.imaging import codec
        from srkit.imaging.image import canvas

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB

        for name in sys.argv[1:]:
            codec.save(codec.DecodedImage(np.zeros((300, 300, 3), np.uint8)), Path(name))
        (pixels,) = canvas(1, (5000, 5000), np.dtype(np.uint8))
        pixels[...] = 90
        before = peak()
        for name in sys.argv[1:]:
            codec.save(codec.DecodedImage(pixels), Path(name))
            print(name, (peak() - before) / (pixels.nbytes / 2**20))
    """
    names = [tmp_path / f"a{suffix}" for suffix in (".png", ".jpg", ".tif", ".bmp")]
    for line in run(program, *names).splitlines():
        assert float(line.split()[-1]) < 0.1, line


LONG = ["ü" * 123 + ".png", "画" * 83 + ".jpg", "\U0001f600" * 62 + ".tif", "a" * 250 + ".webp"]


@pytest.mark.parametrize("name", LONG)
def test_names_may_be_as_long_as_systems_allow(tmp_path: Path, name: str) -> None:
    assert 250 <= len(os.fsencode(name)) <= 255
    codec.save(DecodedImage(np.zeros((4, 4, 3), np.uint8)), tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert codec.read(tmp_path / name).size == (4, 4)


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to(os.devnull)
    write_text(tmp_path / "null", "{}")
    assert (tmp_path / "null").is_symlink()
    assert Path(os.devnull).is_char_device()
    assert [file.name for file in tmp_path.iterdir()] == ["null"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_written_through(tmp_path: Path, there: bool) -> None:
    (tmp_path / "disk").mkdir()
    if there:
        (tmp_path / "disk" / "a").write_text("old")
    (tmp_path / "a").symlink_to("disk/a")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").readlink() == Path("disk/a")
    assert (tmp_path / "disk" / "a").read_text() == "new"
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a", "a", "disk"]


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")
    access = os.access  # root may write anything
    monkeypatch.setattr(os, "access", lambda file, mode: mode != os.W_OK and access(file, mode))
    with pytest.raises(InputError, match=r"can't write .*a: Permission denied"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["a", "ü" * 100, "\U0001f600" * 60, "a\udcff" * 40, "a" * 255])
def test_temporary_names_are_short(tmp_path: Path, name: str) -> None:
    """Some systems allow 143 bytes; no letter is cut into halves."""
    with atomic(tmp_path / name) as temporary:
        assert len(os.fsencode(temporary.name)) <= 80
        assert name.startswith(temporary.name[1:].rsplit(".srkit-", 1)[0])
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_only_what_ended_processes_left_is_swept(tmp_path: Path) -> None:
    ended = Fork(tmp_path, lambda: 0)
    ended.end()
    (tmp_path / "in").mkdir()
    dead = f"{host()}-{ended.pid}"
    stale = [f".a.png.srkit-{dead}.abcd_123.part", "in/.b.srkit-00000000-1.abcd_123.part"]
    others = [
        ".a.png.abcd_123.part",  # a user's
        ".x.srkit-notes-1.abcd_123.part",
        f".a.png.srkit-{host()}-{os.getpid()}.abcd_123.part",
        ".a.png.srkit-00000000-1.abcd_124.part",  # another machine's, new
    ]
    for name in (*stale, *others):
        (tmp_path / name).touch()
    os.utime(tmp_path / stale[1], (0, 0))
    sweep(tmp_path, below=True)
    assert not any((tmp_path / name).exists() for name in stale)
    assert all((tmp_path / name).exists() for name in others)


def test_a_result_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"old")

    def fails(error: BaseException) -> Callable[..., None]:
        def encode(image: DecodedImage, out: BinaryIO, *_: object) -> None:
            out.write(b"half")
            raise error

        return encode

    for error, says in (
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "too large for the memory"),
        (ValueError("odd"), "odd"),
    ):
        monkeypatch.setattr(codec, "_encode", fails(error))
        with pytest.raises(InputError, match=f"can't write .*a.png: {says}$"):
            codec.save(DecodedImage(np.zeros((4, 4, 3), np.uint8)), file)
        assert [f.read_bytes() for f in tmp_path.iterdir()] == [b"old"]
