"""Photos to batches: which images, how framed, in which order."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import multiprocessing
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from loading import CPU, Crops, first, recipe, same
from PIL import Image
from torch import Tensor
from training import decoded, fingerprint

from srkit import InputError, SrkitError, seeds
from srkit.data import cache, held_out, loader, sources
from srkit.data.datasets import ImageDataset, Layout, TooManyBrokenError
from srkit.data.held_out import Images
from srkit.data.loader import Loader, Storage, open_loader
from srkit.data.sampler import Sampler, rows_of_rank
from srkit.data.sources import Samples
from srkit.imaging import codec
from srkit.recipe import Data

# --- which images make a batch ----------------------------------------------------------------


def drawn_from(count: int, batch_size: int, seed: int, *, flips: bool = True) -> Sampler:
    """The sampler of a run in one process, of images that are numbered from 0."""
    return Sampler(torch.arange(count), batch_size, seed, range(batch_size), flips)


def batch_of(sampler: Sampler, step: int) -> tuple[Tensor, Tensor]:
    """The numbers of a batch's images, and the seeds of their noise."""
    index, _, keys = sampler.span(step, 1)
    return index[0], keys[0]


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**62))
def test_every_epoch_shows_every_image_once(count: int, batch_size: int, seed: int) -> None:
    sampler = drawn_from(count, batch_size, seed)
    steps = -(-3 * count // batch_size)
    order = torch.cat([batch_of(sampler, step)[0] for step in range(steps)])
    for epoch in order[: 3 * count].split(count):
        assert sorted(epoch.tolist()) == list(range(count))


def test_batches_follow_from_seed_and_step_alone() -> None:
    walked = drawn_from(37, 8, 5)
    batches = [batch_of(walked, step) for step in range(20)]
    for step in (19, 3, 11, 0):  # in any order, on the same sampler and on fresh ones
        for each in (walked, drawn_from(37, 8, 5)):
            index, keys = batch_of(each, step)
            assert torch.equal(index, batches[step][0])
            assert torch.equal(keys, batches[step][1])


@given(
    count=st.integers(1, 40),
    each=st.integers(1, 20),
    processes=st.integers(1, 3),
    seed=st.integers(0, 2**62),
    start=st.integers(0, 99),
)
def test_batches_are_what_image_by_image_gives(
    count: int, each: int, processes: int, seed: int, start: int
) -> None:
    """A plain transcription, on whose numbers runs that were stopped earlier rely."""

    def derive(*keys: int) -> int:
        return int(seeds.derive(torch.tensor([seed]), *keys))

    rows = rows_of_rank(each * processes, processes - 1, processes)
    sampler = Sampler(torch.arange(count) + 7, each * processes, seed, rows, True)
    index, mirrored, keys = sampler.span(start, 5)
    for batch in range(5):
        for row in rows:
            epoch, place = divmod((start + batch) * each * processes + row, count)
            generator = torch.Generator().manual_seed(derive(1, epoch))
            image = int(torch.randperm(count, generator=generator)[place])
            spot = (batch, row - rows.start)
            assert int(index[spot]) == image + 7
            assert bool(mirrored[spot]) == (derive(epoch, image, 2) < 0)
            assert int(keys[spot]) == derive(epoch, image, 3)


def test_other_seeds_and_other_epochs_have_other_orders() -> None:
    samplers = [drawn_from(100, 100, seed) for seed in (0, 1)]
    orders = [batch_of(sampler, epoch)[0] for sampler in samplers for epoch in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_each_image_has_its_own_key_in_each_epoch() -> None:
    sampler = drawn_from(50, 50, 0)
    keys = torch.cat([batch_of(sampler, epoch)[1] for epoch in range(10)])
    assert keys.dtype == torch.int64
    assert keys.unique().numel() == 500


def test_an_images_key_is_independent_of_the_batch_size() -> None:
    def keys(batch_size: int) -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}
        sampler = drawn_from(12, batch_size, 3)
        for step in range(24 // batch_size):
            for place, (i, key) in enumerate(zip(*batch_of(sampler, step), strict=True)):
                found[(step * batch_size + place) // 12, int(i)] = int(key)
        return found

    assert keys(4) == keys(6) == keys(24)


def numbered(count: int) -> Tensor:
    """Images that are black but for their left column, which holds their number."""
    pixels = torch.zeros(count, 3, 4, 4, dtype=torch.uint8)
    pixels[..., 0] = torch.arange(1, count + 1, dtype=torch.uint8)[:, None, None]
    return pixels


def in_memory(pixels: Tensor, sampler: Sampler) -> Loader:
    """A loader of images as they are."""
    return Loader(
        recipe=recipe(),
        layout=Layout(pixels.shape[-1]),
        device=CPU,
        read=functools.partial(loader.in_memory, pixels.flatten(1), sampler, CPU),
        storage="memory",
        fingerprint="",
    )


def test_a_batch_holds_the_images_asked_for() -> None:
    sampler = drawn_from(20, 6, 0, flips=False)
    index, _ = batch_of(sampler, 2)
    hr = next(in_memory(numbered(20), sampler).batches(2)).hr
    assert hr.dtype == torch.float32
    assert torch.equal((hr[:, 0, 0, 0] * 255).round().long(), index + 1)
    assert not hr[..., 1:].any()


def test_half_of_the_images_are_mirrored_anew_each_epoch() -> None:
    samplers = [drawn_from(200, 200, 0, flips=flips) for flips in (True, False)]
    mirrored = torch.zeros(4, 200, dtype=torch.bool)
    some = [itertools.islice(in_memory(numbered(200), each).batches(0), 4) for each in samplers]
    for epoch, (batch, unturned) in enumerate(zip(*some, strict=True)):
        index, _ = batch_of(samplers[0], epoch)
        hr, plain = batch.hr, unturned.hr
        assert torch.equal(batch.seeds, unturned.seeds)
        turned = hr[:, 0, 0, 0] == 0
        assert torch.equal(torch.where(turned[:, None, None, None], hr.flip(-1), hr), plain)
        mirrored[epoch, index] = turned
    assert 0.4 < mirrored.float().mean().item() < 0.6
    assert len({tuple(row.tolist()) for row in mirrored}) == 4


# --- framing ------------------------------------------------------------------------------------


def rows(width: int, height: int) -> Image.Image:
    """An image whose red is the row and whose green is the column."""
    grid = np.zeros((height, width, 3), dtype=np.uint8)
    grid[..., 0] = np.arange(height)[:, None]
    grid[..., 1] = np.arange(width)
    return Image.fromarray(grid)


@pytest.mark.parametrize(
    ("size", "first_row", "first_column"),
    [((89, 109), 10, 0), ((178, 218), 20, 0), ((109, 89), 0, 10), ((88, 109), 10, 0)],
)
def test_square_cuts_the_centre_at_whole_pixels(
    size: tuple[int, int], first_row: int, first_column: int
) -> None:
    side = min(size)
    cut = np.asarray(codec.frame(rows(*size), "square", side))
    assert cut.shape == (side, side, 3)
    assert cut[:, 0, 0].tolist() == list(range(first_row, first_row + side))
    assert cut[0, :, 1].tolist() == list(range(first_column, first_column + side))


def test_squash_takes_the_whole_image() -> None:
    image = rows(89, 109)
    squashed = codec.frame(image, "squash", 64)
    assert squashed.size == (64, 64)
    assert squashed.tobytes() == image.resize((64, 64), Image.Resampling.BICUBIC).tobytes()
    reds = np.asarray(squashed)[:, 0, 0]
    assert reds[0] <= 1
    assert reds[-1] >= 107


@pytest.mark.parametrize("framing", ["square", "squash"])
@pytest.mark.parametrize("size", [(89, 109), (200, 50), (3, 7), (1, 1)])
def test_framed_images_have_exactly_the_size_asked_for(
    framing: codec.Framing, size: tuple[int, int]
) -> None:
    assert codec.frame(rows(*size), framing, 32).size == (32, 32)


# --- decoded photos ----------------------------------------------------------------------------


def test_broken_images_are_counted_named_and_left_out(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 20, 24)
    files[3].write_bytes(b"not an image")
    files[9].write_bytes(files[9].read_bytes()[:200])
    photos = decoded(files, Data(size=16))
    assert photos.pixels.shape == (18, 3, 16, 16)
    assert photos.pixels.dtype == torch.uint8
    assert len(photos.broken) == 2
    assert files[3].name in photos.broken[0]
    assert files[9].name in photos.broken[1]
    good = [file for number, file in enumerate(files) if number not in (3, 9)]
    assert torch.equal(photos.pixels, decoded(good, Data(size=16)).pixels)


def test_decoded_images_are_the_framed_files(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    rows(89, 109).save(file)
    for framing in ("square", "squash"):
        photos = decoded([file], Data(framing=framing, size=64))
        expected = np.asarray(codec.frame(rows(89, 109), framing, 64))
        assert np.array_equal(photos.pixels[0].permute(1, 2, 0).numpy(), expected)
        assert photos.hr().max() <= 1


def test_fingerprints_tell_pixels_apart(tmp_path: Path, crops: Crops) -> None:
    file = crops(tmp_path, 4, 16)[3]
    prints = [split(tmp_path, tmp_path)[0]]
    pixels = np.asarray(Image.open(file)).copy()
    pixels[15, 15, 2] ^= 1
    Image.fromarray(pixels).save(file)
    prints.append(split(tmp_path, tmp_path)[0])
    assert fingerprint(prints[0]) != fingerprint(prints[1])


# --- training and held-out photos ---------------------------------------------------------------


def as_set(images: Images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.pixels}


def split(source: Path | str, val: Path | None = None) -> tuple[Images, Images]:
    """Return (training, held-out) images."""
    loader, held_out = open_loader(source, val, recipe(), device=CPU)
    assert isinstance(loader.read, functools.partial)
    pixels, sampler, _ = loader.read.args
    train = Images.of(pixels[sampler.rows].numpy(), loader.layout)
    assert fingerprint(train) == loader.fingerprint
    return train, held_out


def test_a_plain_folder_holds_every_twentieth_photo_out(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 41, 24)
    train, held_out = split(tmp_path)
    assert (len(train), len(held_out)) == (38, 3)
    assert not as_set(train) & as_set(held_out)


def test_a_split_of_its_own_is_held_out(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "train", 30, 24)
    crops(tmp_path / "val", 4, 20)
    train, held_out = split(tmp_path)
    assert (len(train), len(held_out)) == (30, 4)


def test_held_out_photos_can_lie_elsewhere(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "a", 30, 24)
    crops(tmp_path / "b", 5, 24)
    train, held_out = split(tmp_path / "a", tmp_path / "b")
    assert (len(train), len(held_out)) == (30, 5)


def test_copies_and_validation_images_that_are_trained_on_are_counted(
    tmp_path: Path, crops: Crops
) -> None:
    files = crops(tmp_path / "train", 6, 20)
    for storage in ("memory", "stream"):
        loader, _ = open_loader(tmp_path, None, recipe(), device=CPU, storage=storage)
        assert loader.notes == []
        loader.close()
    crops(tmp_path / "other", 8, 20)[7].rename(tmp_path / "more.png")
    for number in range(2):
        shutil.copy(files[1], tmp_path / "train" / f"copy-{number}.png")
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "more.png").rename(tmp_path / "other" / "more.png")
    shutil.copy(files[2], tmp_path / "other" / "known.png")
    for storage in ("memory", "stream"):
        loader, _ = open_loader(tmp_path, tmp_path / "other", recipe(), device=CPU, storage=storage)
        assert loader.notes == [
            "2 of 8 training images are copies of others",
            "1 of 2 validation images are trained on: their scores say little",
        ]
        loader.close()


def test_one_image_is_too_few(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 1, 24)
    with pytest.raises(InputError, match="two images or more are needed"):
        split(tmp_path)


def test_samples_never_show_the_astronaut(monkeypatch: pytest.MonkeyPatch) -> None:
    def astronaut() -> None:
        raise AssertionError("the demo scores her: nothing may train on her")

    monkeypatch.setattr(skimage.data, "astronaut", astronaut)
    assert "astronaut" not in sources.SAMPLE_PHOTOS
    train, held_out = split("samples")
    assert (len(train), len(held_out)) == (400, 40)


def test_samples_are_the_same_every_time_and_another_seed_gives_others() -> None:
    first, again, other = (
        [*map(Samples(32, count=20, seed=seed).__getitem__, range(20))] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_held_out_samples_are_of_parts_that_training_never_sees() -> None:
    """No column of a photograph is in both: the crops of one are of other pixels."""
    marked = Image.fromarray(np.zeros((80, 400, 3), dtype=np.uint8))
    marked.paste((255, 255, 255), (300, 0, 400, 80))
    with pytest.MonkeyPatch.context() as patch:
        for name in sources.SAMPLE_PHOTOS:
            patch.setattr(skimage.data, name, lambda: np.asarray(marked))
        for validation, colour in ((False, 0), (True, 255)):
            squares = Samples(16, count=20, validation=validation).squares
            assert all(square.getextrema() == ((colour, colour),) * 3 for square in squares)


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(InputError, match="no training data at ''"):
        sources.locate("")


# --- loaders ------------------------------------------------------------------------------------


@pytest.fixture
def some_broken(tmp_path: Path, crops: Crops) -> Path:
    """Forty-one images, of which the second and the thirtieth can't be read."""
    files = crops(tmp_path / "images", 41, 24)
    files[1].write_bytes(b"not an image")
    files[29].write_bytes(files[29].read_bytes()[:300])
    return tmp_path / "images"


STORAGES: tuple[Storage, ...] = ("memory", "stream")


@pytest.mark.parametrize("flips", [True, False])
def test_a_feed_yields_what_the_sampler_says(tmp_path: Path, crops: Crops, flips: bool) -> None:
    """Bit for bit what choosing image by image gives, over several epochs and plans."""
    files = crops(tmp_path, 41, 24)
    its = recipe(seed=5, flips=flips)
    photos = decoded([f for n, f in enumerate(files) if n % 20], its.data)
    loader, held_out = open_loader(tmp_path, None, its, device=CPU)
    assert (loader.count, len(held_out), loader.storage) == (38, 3, "memory")
    assert loader.fingerprint == fingerprint(photos)
    drawn = drawn_from(38, 6, 5)
    for step, batch in enumerate(first(loader, 150)):
        (index,), (mirrored,), (keys,) = drawn.span(step, 1)
        hr = photos.hr()[index]
        if flips:
            hr = torch.where(mirrored[:, None, None, None], hr.flip(-1), hr)
        assert torch.equal(batch.hr, hr)
        assert torch.equal(batch.seeds, keys)
        assert batch.lr is None


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_images_are_those_in_memory(
    some_broken: Path, tmp_path: Path, workers: int
) -> None:
    opened = functools.partial(
        open_loader, some_broken, None, recipe(), device=CPU, cache=tmp_path / "cache"
    )
    memory, images = opened(storage="memory")
    stream, others = opened(storage="stream", workers=workers)
    assert (memory.storage, stream.storage) == ("memory", "stream")
    assert memory.count == stream.count == 37
    assert memory.fingerprint == stream.fingerprint
    assert list(memory.broken) == list(stream.broken)
    assert [Path(text.split(":")[0]).name for text in stream.broken] == ["000002.png", "000030.png"]
    assert torch.equal(images.pixels, others.pixels)
    assert same(first(memory, 70), first(stream, 70))
    assert same(first(memory, 9, start=67), first(stream, 9, start=67))


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_rows_of_two_processes_make_up_the_batch(some_broken: Path, storage: Storage) -> None:
    opened = functools.partial(
        open_loader, some_broken, None, recipe(), device=CPU, storage=storage
    )
    whole = first(opened()[0], 9, start=5)
    halves = [first(opened(rank=rank, world_size=2, workers=1)[0], 9, start=5) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert [len(part.hr) for part in parts] == [3, 3]
        assert torch.equal(batch.hr, torch.cat([part.hr for part in parts]))
        assert torch.equal(batch.seeds, torch.cat([part.seeds for part in parts]))


def test_a_feed_draws_nothing_from_the_generator_of_the_networks(some_broken: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    for storage in STORAGES:
        torch.manual_seed(3)
        loader, _ = open_loader(some_broken, None, recipe(), device=CPU, storage=storage, workers=1)
        first(loader, 2)
        assert torch.equal(torch.rand(4), expected)


def test_a_feed_can_begin_again_and_leaves_nothing_running(some_broken: Path) -> None:
    others = set(threading.enumerate())  # of a test that failed in a generator, say
    loader, _ = open_loader(some_broken, None, recipe(), device=CPU, storage="stream", workers=2)
    batches = loader.batches(0)
    early = [next(batches) for _ in range(3)]
    batches = loader.batches(0)
    assert same(early, [next(batches) for _ in range(3)])
    loader.close()
    assert not multiprocessing.active_children()
    own = set(threading.enumerate()) - others
    assert all("ThreadPool" not in thread.name for thread in own)


def test_an_image_that_vanishes_during_a_run_is_named(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 4, 24)
    loader, _ = open_loader(
        tmp_path, None, recipe(), device=CPU, storage="stream", workers=1, cache=False
    )
    files[2].unlink()
    with pytest.raises(InputError, match=r"changed since this run began: .*000003\.png: no such"):
        first(loader, 3)


def test_a_worker_that_is_killed_is_one_clear_line(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 4, 24)
    loader, _ = open_loader(tmp_path, None, recipe(), device=CPU, storage="stream", workers=1)
    batches = loader.batches(0)
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(SrkitError, match="a process that decodes was ended, maybe for want of"):
        list(itertools.islice(batches, 10_000))
    assert not multiprocessing.active_children()


def test_sources_can_be_given_to_fresh_processes(tmp_path: Path, crops: Crops) -> None:
    source, _ = sources.find(crops(tmp_path, 4, 24)[0].parent, recipe())
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.decode(2), source.decode(2))


@pytest.mark.long
def test_workers_can_be_started_afresh(some_broken: Path) -> None:
    """As on Windows and macOS, where nothing is inherited from this process."""
    opened = functools.partial(open_loader, some_broken, None, recipe(), device=CPU)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        loader = first(opened(storage="stream", workers=1)[0], 8)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert same(loader, first(opened()[0], 8))


def test_samples_are_fed_too() -> None:
    loader, held_out = open_loader("samples", None, recipe(), device=CPU)
    assert (loader.count, len(held_out), loader.storage) == (400, 40, "memory")
    frames = [codec.frame(square, "square", 16) for square in Samples(16).squares]
    pixels = np.stack(frames).transpose(0, 3, 1, 2)
    assert loader.fingerprint == hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    assert first(loader, 1)[0].hr.shape == (6, 3, 16, 16)


def test_no_more_images_are_held_out_than_validation_uses(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "MOST", 5)
    crops(tmp_path / "train", 20, 24)
    files = crops(tmp_path / "val", 12, 24)
    files[11].write_bytes(b"never looked at")
    _, validation = open_loader(tmp_path, None, recipe(), device=CPU)
    assert torch.equal(validation.pixels, decoded(files[:5], Data(size=16)).pixels)
    files[2].write_bytes(b"")
    with pytest.raises(TooManyBrokenError, match=r"^1 of 6 images are broken"):
        open_loader(tmp_path, None, recipe(), device=CPU)


def test_too_many_broken_images_stop_a_run_with_all_names(tmp_path: Path, crops: Crops) -> None:
    for file in crops(tmp_path, 30, 24)[::4]:
        file.write_bytes(b"")
    for storage in STORAGES:
        with pytest.raises(TooManyBrokenError, match=r"^8 of 30 images are broken, f") as raised:
            open_loader(tmp_path, None, recipe(), device=CPU, storage=storage)
        assert len(raised.value.broken) == 8
        assert "\n" not in str(raised.value)


def test_progress_ends_at_the_number_of_images(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 150, 8)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    open_loader(tmp_path, None, recipe(), device=CPU, progress=progress)
    assert seen == [(min(done, 150), 150) for done in range(16, 166, 16)]


# --- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one entry with each image that a folder's source decodes."""
    seen: list[int] = []
    original = ImageDataset.decode

    def decode(self: ImageDataset, number: int) -> np.ndarray:
        seen.append(number)
        return original(self, number)

    monkeypatch.setattr(ImageDataset, "decode", decode)
    return seen


@pytest.mark.parametrize("storage", STORAGES)
def test_images_are_decoded_once(
    some_broken: Path, tmp_path: Path, decodes: list[int], storage: Storage
) -> None:
    opened = functools.partial(
        open_loader, some_broken, recipe=recipe(), device=CPU, cache=tmp_path, storage=storage
    )
    held_out_too, _ = opened(val=some_broken)
    assert sorted(set(decodes)) == list(range(41))
    assert [file.suffix for file in tmp_path.glob("*.*")] == [".npz"]
    decodes.clear()
    again, _ = opened(val=None)
    assert len(decodes) == (2 if storage == "stream" else 0)  # the held-out ones
    assert again.fingerprint != held_out_too.fingerprint  # now some are held out
    assert list(again.broken) == list(held_out_too.broken)


def test_a_stream_uses_what_memory_has_stored_and_not_the_other_way_round(
    some_broken: Path, tmp_path: Path, decodes: list[int]
) -> None:
    opened = functools.partial(
        open_loader, some_broken, some_broken, recipe(), device=CPU, cache=tmp_path
    )
    opened(storage="stream")
    (file,) = tmp_path.glob("*.npz")
    small = file.stat().st_size
    opened(storage="memory")
    assert file.stat().st_size > small + 37 * 768
    decodes.clear()
    opened(storage="stream")
    assert len(decodes) == 41  # --val is another set, and none of the cache's business


@pytest.mark.parametrize("storage", ["memory", pytest.param("stream", marks=pytest.mark.long)])
@pytest.mark.parametrize("damage", ["cut", "first", "middle", "empty", "gone"])
def test_a_damaged_cache_is_made_anew(
    some_broken: Path, tmp_path: Path, decodes: list[int], storage: Storage, damage: str
) -> None:
    opened = functools.partial(
        open_loader, some_broken, None, recipe(), device=CPU, cache=tmp_path, storage=storage
    )
    expected = first(opened()[0], 7)
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    at = 0 if damage == "first" else len(whole) // 3
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    file.write_bytes({"cut": whole[:-100], "empty": b""}.get(damage, changed))
    if damage == "gone":
        file.unlink()
    decodes.clear()
    assert same(first(opened()[0], 7), expected)
    assert len(decodes) >= 41
    assert file.read_bytes() == whole


def test_other_images_framings_and_sizes_have_caches_of_their_own(
    tmp_path: Path, crops: Crops
) -> None:
    files = crops(tmp_path / "images", 4, 24)
    cache = tmp_path / "cache"

    def opened(**settings: Any) -> int:
        open_loader(files[0].parent, None, recipe(**settings), device=CPU, cache=cache)
        return len(list(cache.iterdir()))

    assert opened() == opened() == 1
    assert opened(framing="squash") == 2
    assert opened(size=12) == 3
    assert opened(flips=False) == 3
    os.utime(files[1], ns=(0, 0))
    assert opened() == 4
    files[3].unlink()
    assert opened() == 5


def test_files_that_differ_in_nothing_but_when_they_were_written_are_others(
    tmp_path: Path, crops: Crops
) -> None:
    """As two sets of uncompressed images from archives that store no times."""
    files = crops(tmp_path / "images", 2, 24)
    prints = []
    for colour in (10, 20):
        for file in files:
            Image.new("RGB", (24, 24), (colour, 0, 0)).save(file, "bmp")
            os.utime(file, ns=(0, 0))
        loader, _ = open_loader(
            files[0].parent, None, recipe(), device=CPU, cache=tmp_path / "cache"
        )
        prints.append(loader.fingerprint)
        time.sleep(0.02)
    assert prints[0] != prints[1]


def test_memory_holds_the_decoded_images_once(some_broken: Path) -> None:
    dataset, _ = sources.find(some_broken, recipe())
    assert isinstance(dataset, ImageDataset)
    pixels = cache.decode(dataset, None).pixels
    assert pixels is not None
    assert len(pixels) == 39
    # Made before the first was decoded.
    assert pixels.base.nbytes == 41 * dataset.layout.bytes


def test_pairs_that_grow_while_they_are_decoded_are_one_clear_line(
    some_broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = ImageDataset.decode

    def more(self: ImageDataset, number: int) -> np.ndarray:
        return decode(self, number).repeat(2, axis=0)

    monkeypatch.setattr(ImageDataset, "decode", more)
    with pytest.raises(InputError, match="changed while they were decoded"):
        open_loader(some_broken, None, recipe(), device=CPU, cache=False)


def test_a_moved_folder_is_still_known_and_named_by_its_new_name(
    some_broken: Path, tmp_path: Path, decodes: list[int]
) -> None:
    open_loader(some_broken, None, recipe(), device=CPU, cache=tmp_path)
    moved = some_broken.rename(tmp_path / "moved")
    decodes.clear()
    loader, _ = open_loader(moved, None, recipe(), device=CPU, cache=tmp_path)
    assert not decodes
    assert loader.broken[0].startswith(f"{moved / '000002.png'}: not a readable image")
    assert f"{some_broken}" not in "".join(loader.broken)


def test_without_a_cache_nothing_is_written(
    some_broken: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "default"))
    open_loader(some_broken, None, recipe(), device=CPU, cache=False)
    assert not (tmp_path / "default").exists()
    open_loader(some_broken, None, recipe(), device=CPU)
    assert len(list((tmp_path / "default" / "decoded").iterdir())) == 1


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond a kilobyte within; not even one that pytest's own output goes to."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_a_full_disk_is_a_note_and_no_error(
    some_broken: Path, tmp_path: Path, storage: Storage
) -> None:
    where = tmp_path / "cache"
    with full_disk():
        loader, _ = open_loader(
            some_broken, None, recipe(), device=CPU, cache=where, storage=storage
        )
    assert (loader.storage, loader.count) == (storage, 37)
    if storage == "memory":
        assert loader.notes[0].startswith(f"can't store decoded images in {where}: ")
        assert not list(where.iterdir())


def test_a_cache_that_cant_be_made_is_a_note_too(some_broken: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for storage in STORAGES:
        loader, _ = open_loader(
            some_broken, None, recipe(), device=CPU, cache=tmp_path / "file", storage=storage
        )
        assert len(loader.notes) == 1


# --- room ---------------------------------------------------------------------------------------


NEED = 41 * 3 * 16 * 16  # bytes of all images


@pytest.mark.parametrize(
    ("available", "expected"), [(2 * NEED, "memory"), (2 * NEED - 2, "stream")]
)
def test_images_are_stored_where_there_is_room(
    some_broken: Path, monkeypatch: pytest.MonkeyPatch, available: int, expected: str
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    monkeypatch.setattr(loader, "_container_limits", lambda: iter(()))
    opened, _ = open_loader(some_broken, None, recipe(), device=CPU, workers=0)
    assert opened.storage == expected


def test_memory_that_isnt_there_is_one_clear_line(
    some_broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageDataset, "expected", 1 << 50)
    with pytest.raises(InputError, match=r"^no memory for \d+\.\d GB of .* storage='stream'$"):
        open_loader(some_broken, None, recipe(), device=CPU, storage="memory")


def test_processes_that_train_together_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1200))
    monkeypatch.setattr(loader, "_container_limits", lambda: iter(()))
    assert [loader.host_room(world_size) for world_size in (1, 2)] == [600, 300]


def test_of_a_gpu_the_free_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 10**12))
    assert loader.device_room(torch.device("cuda"), 7) == 400
    assert loader.device_room(CPU, 7) == 7
