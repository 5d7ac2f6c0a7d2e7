"""WebDataset shards: which images come when, over processes, workers and resumed runs."""

from __future__ import annotations

import bz2
import functools
import gzip
import http.server
import io
import itertools
import lzma
import pickle
import tarfile
import threading
import tracemalloc
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import loading
import numpy as np
import pytest
from loading import CPU, first, same
from PIL import Image
from torch import Tensor

from srkit import InputError, registry
from srkit.data import held_out, sources, workers
from srkit.data.datasets import TooManyBrokenError
from srkit.data.loader import Loader, open_loader

pytest.importorskip("webdataset")
from srkit_webdataset import source as shards
from srkit_webdataset import tars

SIZE = 8


recipe = functools.partial(loading.recipe, SIZE)


def encoded(number: int) -> bytes:
    """An image of one colour but for its left column, from which its number can be read."""
    pixels = np.full((SIZE, SIZE, 3), (number // 16 * 16 % 256, number % 16 * 16, 255), np.uint8)
    pixels[:, 0] = 7
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def numbers(images: Tensor) -> list[int]:
    middle = (images[:, :, 0, SIZE // 2] * 255).round().long()
    return (middle[:, 0] + middle[:, 1] // 16).tolist()


def write(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


COUNTS = (7, 11, 5, 9)  # images a shard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four shards of 32 images in all, with other files beside the images."""
    (tmp_path / "shards").mkdir()
    total = itertools.count()
    for shard, count in enumerate(COUNTS):
        members = {}
        for place in range(count):
            members[f"{place:04d}.json"] = b"{}"
            members[f"{place:04d}.PNG"] = encoded(next(total))
        write(tmp_path / "shards" / f"train-{shard:03d}.tar", members)
    write(tmp_path / "val.tar", {f"{place}.png": encoded(place) for place in range(100, 106)})
    return tmp_path


def pattern(folder: Path) -> str:
    return f"{folder}/shards/train-{{000..003}}.tar"


def opened(folder: Path, **settings: Any) -> Loader:
    given = {"val": folder / "val.tar", "recipe": recipe(), "device": CPU, "workers": 0}
    loader, _ = open_loader(**{"source": pattern(folder), **given, **settings})
    return loader


# --- patterns -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a/x-{000..009}.tar", "*.TAR", "x.tar.gz", "http://h/x-{0..9}.tar", "https://h/x", "pipe:x"],
)
def test_patterns_are_told_from_folders(name: str) -> None:
    source = sources._named_by_address(name)
    assert source is not None
    assert registry.find("sources", source) is shards.Shards


def test_a_folder_whose_name_ends_in_tar_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.tar").mkdir()
    for name in (str(tmp_path / "x.tar"), "celeba", r"C:\images", "samples"):
        assert sources._named_by_address(name) is None


def test_patterns_stand_for_files_and_urls(folder: Path) -> None:
    files = sorted(map(str, (folder / "shards").iterdir()))
    assert shards.expand(pattern(folder)) == files
    assert shards.expand(f"{folder}/shards/*.tar") == files
    assert shards.expand("http://host/{a,b}.tar") == ["http://host/a.tar", "http://host/b.tar"]
    with pytest.raises(InputError, match=r"no shard at '.*train-004\.tar'"):
        shards.expand(f"{folder}/shards/train-{{000..009}}.tar")
    with pytest.raises(InputError, match="no shard at"):
        shards.expand(f"{folder}/none-*.tar")
    (brackets := folder / "x[1].tar").write_bytes((folder / "val.tar").read_bytes())
    assert shards.expand(str(brackets)) == [str(brackets)]
    with pytest.raises(InputError, match=r"^a\$\{b\}\.tar: missing environment variable"):
        shards.expand("a${b}.tar")
    with pytest.raises(InputError, match=r"can't read shard http://\[x/y\.tar: "):
        list(tars.read("http://[x/y.tar"))


# --- which images come when -------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_every_epoch_shows_every_image_once(folder: Path, workers: int) -> None:
    """Of each worker: its own shards, then its next epoch's."""
    loader = opened(folder, workers=workers, recipe=recipe(batch_size=1))
    assert (loader.count, loader.storage, loader.broken) == (None, "stream", [])
    order = [numbers(batch.hr)[0] for batch in first(loader, 32 * 6)]
    for worker in range(workers):
        seen = Counter(order[worker::workers])
        assert max(seen.values()) <= 6
    if not workers:
        for epoch in range(6):
            assert sorted(order[32 * epoch : 32 * (epoch + 1)]) == list(range(32))
        assert order[:32] != order[32:64]
        assert order[:32] != sorted(order[:32])
    else:
        assert set(order) == set(range(32))


@pytest.mark.parametrize(("workers", "starts"), [(0, (0, 1, 7, 30)), (2, (7,))])
def test_a_resumed_run_sees_what_the_undisturbed_one_would_have(
    folder: Path, workers: int, starts: tuple[int, ...]
) -> None:
    whole = first(opened(folder, workers=workers), 40)
    for start in starts:
        assert same(whole[start:], first(opened(folder, workers=workers), 40 - start, start))


def test_samples_that_are_passed_over_arent_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, opened_shards = [0], [0]
    framed, read = workers.framed, shards.read

    def counted(*arguments: Any) -> np.ndarray:
        decoded[0] += 1
        return framed(*arguments)

    def counted_read(url: str) -> Any:
        opened_shards[0] += 1
        return read(url)

    loader = opened(folder)
    monkeypatch.setattr(workers, "framed", counted)
    monkeypatch.setattr(shards, "read", counted_read)
    first(loader, 2, start=1000)
    assert decoded == [12]
    assert opened_shards[0] <= 3 * len(COUNTS)  # of 187 epochs


def test_processes_share_the_shards_of_an_epoch(folder: Path) -> None:
    its = recipe(batch_size=2)
    loaders_of_ranks = [opened(folder, recipe=its, rank=rank, world_size=2) for rank in (0, 1)]
    orders = [[numbers(batch.hr)[0] for batch in first(loader, 32)] for loader in loaders_of_ranks]
    edges = np.cumsum((0, *COUNTS))
    parts = [set(range(a, b)) for a, b in itertools.pairwise(edges)]
    own = [[part for part in parts if set(order[: min(COUNTS)]) & part] for order in orders]
    assert all(first_part not in own[1] for first_part in own[0])
    assert set(orders[0]) | set(orders[1]) == set(range(32))


def test_noise_and_mirroring_follow_from_seed_epoch_and_name(folder: Path) -> None:
    def epoch(**settings: Any) -> dict[int, tuple[int, bool]]:
        loader = opened(folder, **{"recipe": recipe(batch_size=1), **settings})
        found = {}
        for batch in first(loader, 32):
            mirrored = bool((batch.hr[0, :, 0, -1] * 255).round()[0] == 7)
            found[numbers(batch.hr)[0]] = (int(batch.seeds), mirrored)
        return found

    here = epoch()
    elsewhere = epoch(source=f"pipe:cat {folder}/shards/train-000.tar")
    other_seed = epoch(recipe=recipe(1, seed=1))
    assert len({noise for noise, _ in here.values()}) == 32
    assert 8 < sum(mirrored for _, mirrored in here.values()) < 24
    assert {n: noise for n, (noise, _) in here.items()} != {
        n: noise for n, (noise, _) in other_seed.items()
    }
    assert len(elsewhere) == 7
    still = epoch(recipe=recipe(batch_size=1, flips=False))
    assert not any(mirrored for _, mirrored in still.values())
    assert {n: noise for n, (noise, _) in still.items()} == {n: v[0] for n, v in here.items()}


def test_a_small_buffer_shuffles_too_and_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "BUFFER", 4)
    order = [numbers(b.hr)[0] for b in first(opened(folder, recipe=recipe(batch_size=1)), 32)]
    assert sorted(order) == list(range(32))
    monkeypatch.setattr(shards, "BUFFER_BYTES", 1)
    order = [numbers(b.hr)[0] for b in first(opened(folder, recipe=recipe(batch_size=1)), 32)]
    assert sorted(order) == list(range(32))


def test_what_workers_are_told_can_be_given_to_fresh_processes(folder: Path) -> None:
    source = shards.Shards(pattern(folder))
    assert pickle.loads(pickle.dumps(source)).urls == source.urls


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.long)])
def test_an_empty_shard_is_passed_over(folder: Path, workers: int) -> None:
    """Its worker has nothing to do in that epoch, and goes on with the next."""
    write(folder / "shards" / "train-001.tar", {})
    loader = opened(folder, workers=workers, recipe=recipe(batch_size=1))
    seen = {n for batch in first(loader, 120) for n in numbers(batch.hr)}
    assert seen == set(range(32)) - set(range(7, 18))


def test_of_two_images_the_one_with_a_plain_suffix_is_meant(tmp_path: Path) -> None:
    members = {
        "1.mask.png": b"mask 1", "1.png": b"image 1",
        "2.face.jpg": b"image 2", "2.json": b"{}",
        "3.001.png": b"one of two", "3.002.png": b"two of two",
    }  # fmt: skip
    write(tmp_path / "x.tar", members)
    assert list(tars.read(f"{tmp_path}/x.tar")) == [
        ("x.tar/1", b"image 1"),
        ("x.tar/2", b"image 2"),
        ("x.tar/3", None),
    ]


# --- how many shards ----------------------------------------------------------------------------


def test_too_few_shards_take_fewer_workers(folder: Path) -> None:
    loader = opened(folder, workers=8, world_size=2)
    assert len(first(loader, 5)) == 5
    assert list(loader.notes) == ["2 workers, not 8: too few shards for more"]


def test_fewer_shards_than_processes_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="4 shards are too few for 6 processes"):
        opened(folder, world_size=6)


def test_the_fingerprint_is_of_the_sorted_urls(folder: Path) -> None:
    backwards = f"{folder}/shards/train-{{003,001,002,000}}.tar"
    prints = {opened(folder, source=source).fingerprint for source in (pattern(folder), backwards)}
    assert len(prints) == 1
    assert opened(folder, source=str(folder / "shards/train-000.tar")).fingerprint not in prints


# --- held-out images --------------------------------------------------------------------------


def test_shards_need_held_out_images_of_their_own(folder: Path) -> None:
    with pytest.raises(InputError, match="give val="):
        opened(folder, val=None)
    _, held_out = open_loader(pattern(folder), folder / "val.tar", recipe(), device=CPU)
    assert numbers(held_out.hr()) == list(range(100, 106))
    loader = opened(folder, val=f"{folder}/shards/*.tar")
    assert loader.notes == ["4 shards are both trained on and held out"]


def test_held_out_images_of_shards_can_lie_in_a_folder_and_the_other_way_round(
    folder: Path,
) -> None:
    (folder / "val").mkdir()
    for number in range(3):
        (folder / "val" / f"{number}.png").write_bytes(encoded(number))
    _, held_out = open_loader(pattern(folder), folder / "val", recipe(), device=CPU)
    assert numbers(held_out.hr()) == [0, 1, 2]
    loader, held_out = open_loader(folder / "val", folder / "val.tar", recipe(), device=CPU)
    assert (loader.count, len(held_out)) == (3, 6)


# --- what is broken -----------------------------------------------------------------------------


@pytest.fixture
def some_broken(folder: Path) -> Path:
    """One more shard, of whose forty images the sixth is broken and the eighth missing."""
    members = {f"{place:03d}.png": encoded(64 + place) for place in range(40)}
    members["005.png"] = b"no image"
    members["007.txt"] = members.pop("007.png")
    write(folder / "shards" / "train-003.tar", dict(sorted(members.items())))
    return folder


def test_broken_images_are_named_and_skipped_exactly(some_broken: Path) -> None:
    loader = opened(some_broken)
    whole = first(loader, 40)
    one, other = sorted(loader.broken)
    assert one.startswith("train-003.tar/005: not a readable image (of no known format)")
    assert other == "train-003.tar/007: no image among its files, or several"
    assert all(len(batch.hr) == 6 for batch in whole)
    seen = {number for batch in whole for number in numbers(batch.hr)}
    assert not {69, 71} & seen
    assert seen == set(range(23)) | (set(range(64, 104)) - {69, 71})
    for start in range(20):  # before, at and after the broken ones
        assert same(whole[start : start + 3], first(opened(some_broken), 3, start))


def test_too_many_broken_images_stop_with_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"{n:03d}.png": encoded(n) if n % 4 else b"" for n in range(60)}
    write(folder / "bad.tar", members)
    loader = opened(folder, source=str(folder / "bad.tar"))
    with pytest.raises(TooManyBrokenError, match=r"images are broken, first bad\.tar/0") as raised:
        first(loader, 20)
    assert len(raised.value.broken) > 5
    with pytest.raises(TooManyBrokenError, match=r"^15 of 60 images are broken"):
        open_loader(pattern(folder), folder / "bad.tar", recipe(), device=CPU)
    write(folder / "bad.tar", {f"{n:03d}.png": b"" for n in range(60)})
    monkeypatch.setattr(held_out, "MOST", 5)
    with pytest.raises(TooManyBrokenError, match=r"^6 of 6 "):  # it isn't read to its end
        open_loader(pattern(folder), folder / "bad.tar", recipe(), device=CPU)


def test_shards_of_nothing_but_broken_images_end(folder: Path) -> None:
    write(folder / "bad.tar", {f"{n:03d}.png": b"" for n in range(5)})
    with pytest.raises(InputError, match="100 images one after another are broken, last bad"):
        first(opened(folder, source=str(folder / "bad.tar")), 1)
    write(folder / "none.tar", {})
    with pytest.raises(InputError, match=r"no images in .*none\.tar"):
        first(opened(folder, source=str(folder / "none.tar")), 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_is_no_archive_is_named(folder: Path, workers: int) -> None:
    file = folder / "shards" / "train-001.tar"
    file.write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match=r"^can't read shard .*train-001\.tar: ") as raised:
        first(opened(folder, workers=workers), 20)
    assert "<" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_cut_shard_is_named(folder: Path) -> None:
    file = folder / "shards" / "train-001.tar"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"can't read shard .*train-001\.tar: unexpected end"):
        first(opened(folder), 20)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def bombs() -> dict[str, tuple[bytes, str]]:
    """Archives that unpack to much more, and what is said of them."""
    image = header("a.png", 1 << 16) + bytes(1 << 16)
    many = b"".join(header(f"{number}.png", 1 << 20) + bytes(1 << 20) for number in range(4))
    name = header("././@LongLink", 1 << 30, tarfile.GNUTYPE_LONGNAME)
    pax = header("pax", 1 << 30, tarfile.XHDTYPE)
    sparse = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n23 GNU.sparse.name=a.png\n"
    numbers = header("pax", len(sparse), tarfile.XHDTYPE) + sparse.ljust(512, b"\0")
    entry = b"1".rjust(255, b"0") + b"\n"
    nested = b"".join(header("g", 0, tarfile.XGLTYPE) for _ in range(3000))
    return {
        "large.tar": (header("a.png", 5 << 30), "an image in it has 5,120 MiB, more than 256"),
        "pax.tar": (pax + bytes(1 << 21), "1 MiB stand before a file"),
        "many.tar.gz": (gzip.compress(many, 1), "unpacks to more than 50 times its size"),
        "many.tar.bz2": (bz2.compress(many), "unpacks to more than 50 times its size"),
        "many.tar.xz": (lzma.compress(many, preset=0), "unpacks to more than 50 times"),
        "names.tar.gz": (gzip.compress(name + bytes(1 << 22)), "1 MiB stand before a file"),
        "sparse.tar.gz": (
            gzip.compress(numbers + header("a.png", 1 << 30) + b"999999999\n" + entry * (1 << 14)),
            "1 MiB stand before a file",
        ),
        "nested.tar": (nested, "maximum recursion"),
        "after.tar": (bytes(1 << 22), "goes on after its end"),
        "twice.tar": ((header("a.png", 1) + b"x".ljust(512, b"\0")) * 2, "stands twice in it"),
        "torn.tar.gz": (gzip.compress(image)[:60], "ended before the end"),
        "torn.tar.xz": (lzma.compress(image)[:60], "ended before the end"),
        "odd.tar.gz": (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 99, "invalid"),
    }


def test_archives_that_unpack_to_much_more_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "LEAST", 1 << 21)
    monkeypatch.setattr(tars, "LONGEST", 1 << 20)
    for name, (content, why) in bombs().items():
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(InputError, match=f"can't read shard .*{name}: .*{why}"):
            deque(tars.read(str(tmp_path / name)), 0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10 << 20, name


def test_what_is_no_image_is_passed_over_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("wb") as out:
        out.write(header("a.mp4", 1 << 20) + bytes(1 << 20))
        out.write(header("a.png", 5) + b"image".ljust(512, b"\0") + bytes(1024))
    with (tmp_path / "x.tar").open("rb") as stream:
        fields = [(field, contents) for _, field, contents in tars._files(stream)]
    assert fields == [("mp4", None), ("png", b"image")]
    assert list(tars.read(str(tmp_path / "x.tar"))) == [("x.tar/a", b"image")]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_compressed_shards_are_read(tmp_path: Path, suffix: str) -> None:
    with tarfile.open(tmp_path / f"x.tar.{suffix}", f"w:{suffix}") as tar:  # type: ignore[call-overload]
        for number in range(3):
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(encoded(number))
            tar.addfile(entry, io.BytesIO(encoded(number)))
    expected = [(f"x.tar.{suffix}/{number}", encoded(number)) for number in range(3)]
    assert list(tars.read(str(tmp_path / f"x.tar.{suffix}"))) == expected


# --- URLs ---------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; the first answers to some names break off in the middle."""

    breaks: ClassVar[Counter[str]] = Counter()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        if self.breaks[self.path] <= 0:
            return super().do_GET()
        self.breaks[self.path] -= 1
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:6000])
        self.close_connection = True
        return None


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_shards_come_over_http_as_from_a_disk(folder: Path, server: str) -> None:
    url = f"{server}/shards/train-{{000..003}}.tar"
    order = opened(folder, source=url, workers=2, val=f"{server}/val.tar")
    seen = {n for batch in first(order, 30) for n in numbers(batch.hr)}
    assert seen == set(range(32))
    one, disk = (
        first(opened(folder, source=f"{base}/shards/train-001.tar"), 5) for base in (server, folder)
    )
    assert same(one, disk)


def test_a_connection_that_breaks_is_taken_up_again(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(Quiet, "breaks", Counter({"/shards/train-001.tar": 2}))
    url = f"{server}/shards/train-001.tar"
    disk = list(tars.read(f"{folder}/shards/train-001.tar"))
    assert list(tars.read(url)) == disk
    monkeypatch.setattr(Quiet, "breaks", Counter({"/shards/train-001.tar": 3}))
    with pytest.raises(InputError, match=r"can't read shard http://127.*001\.tar: "):
        list(tars.read(url))
    with pytest.raises(InputError, match=r"can't read shard http://127.*999\.tar: "):
        list(tars.read(f"{server}/shards/999.tar"))


def test_commands_are_read_as_shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars.time, "sleep", lambda seconds: None)
    source = f"pipe:cat {folder}/shards/train-000.tar"
    assert {n for b in first(opened(folder, source=source), 4) for n in numbers(b.hr)} == set(
        range(7)
    )
    with pytest.raises(InputError, match="can't read shard pipe:false: "):
        list(tars.read("pipe:false"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        InputError, match=r"shard http://host/x\.tar: No such file or directory: cu"
    ):
        list(tars.read("http://host/x.tar"))
    monkeypatch.undo()
    compressed = folder / "x.tar.gz"
    write(compressed, {"1.png": encoded(1)})
    assert list(tars.read(str(compressed))) == [("x.tar.gz/1", encoded(1))]


def test_a_reader_that_is_given_up_leaves_nothing_open(folder: Path) -> None:
    samples = tars.read(f"pipe:cat {folder}/shards/train-001.tar; sleep 0.1")
    next(samples)
    samples.close()
