"""Photos to batches: which pictures, how framed, in which order."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from training import decoded

from srkit import InputError, SrkitError, seeds
from srkit.data import cache, sources, storage
from srkit.data import feed as data
from srkit.data import sampler as feeds
from srkit.data.decoding import TooManyBrokenError
from srkit.data.feed import Batch, Feed, Photos, Sampler, Share
from srkit.data.sampler import Choice, Held
from srkit.data.sources import Layout
from srkit.data.storage import Keep, Place
from srkit.imaging import codec
from srkit.recipe import Data, Recipe

Crops = Callable[[Path, int, int], list[Path]]


# --- which pictures make a batch ----------------------------------------------------------------


CPU = torch.device("cpu")


def recipe(size: int = 16, batch_size: int = 6, **values: Any) -> Recipe:
    made = {"name": "t", "generator": {"name": "x"}, "degradation": {"name": "y"}}
    data_keys = {"size": size, **values.pop("data", {})}
    losses = {"losses": {"l1": {"weight": 1.0}}}
    return Recipe.parse({**made, **losses, "batch_size": batch_size, "data": data_keys, **values})


@given(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**62))
def test_every_epoch_shows_every_picture_once(count: int, batch_size: int, seed: int) -> None:
    sampler = Sampler(count, batch_size, seed)
    steps = -(-3 * count // batch_size)
    order = torch.cat([sampler.batch(step)[0] for step in range(steps)])
    for epoch in order[: 3 * count].split(count):
        assert sorted(epoch.tolist()) == list(range(count))


def test_batches_follow_from_seed_and_step_alone() -> None:
    walked = Sampler(37, 8, 5)
    batches = [walked.batch(step) for step in range(20)]
    for step in (19, 3, 11, 0):  # in any order, on the same sampler and on fresh ones
        for sampler in (walked, Sampler(37, 8, 5)):
            index, keys = sampler.batch(step)
            assert torch.equal(index, batches[step][0])
            assert torch.equal(keys, batches[step][1])


@given(
    count=st.integers(1, 40),
    each=st.integers(1, 20),
    processes=st.integers(1, 3),
    seed=st.integers(0, 2**62),
    start=st.integers(0, 99),
)
def test_batches_are_what_picture_by_picture_gives(
    count: int, each: int, processes: int, seed: int, start: int
) -> None:
    """A plain transcription, on whose numbers runs that were stopped earlier rely."""

    def derive(*keys: int) -> int:
        return int(seeds.derive(torch.tensor([seed]), *keys))

    sampler = Sampler(count, each * processes, seed)
    rows = Share(processes - 1, processes).rows(each * processes)
    index, keys = sampler.span(start, 5, rows)
    for batch in range(5):
        for row in rows:
            epoch, place = divmod((start + batch) * each * processes + row, count)
            generator = torch.Generator().manual_seed(derive(1, epoch))
            picture = int(torch.randperm(count, generator=generator)[place])
            assert int(index[batch, row - rows.start]) == picture
            assert int(keys[batch, row - rows.start]) == derive(epoch, picture)


def test_other_seeds_and_other_epochs_have_other_orders() -> None:
    orders = [Sampler(100, 100, seed).batch(epoch)[0] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_each_picture_has_its_own_key_in_each_epoch() -> None:
    sampler = Sampler(50, 50, 0)
    keys = torch.cat([sampler.batch(epoch)[1] for epoch in range(10)])
    assert keys.dtype == torch.int64
    assert keys.unique().numel() == 500


def test_a_pictures_key_is_independent_of_the_batch_size() -> None:
    def keys(batch_size: int) -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}
        sampler = Sampler(12, batch_size, 3)
        for step in range(24 // batch_size):
            for place, (i, key) in enumerate(zip(*sampler.batch(step), strict=True)):
                found[(step * batch_size + place) // 12, int(i)] = int(key)
        return found

    assert keys(4) == keys(6) == keys(24)


def numbered(count: int) -> Photos:
    """Photos that are black but for their left column, which holds their number."""
    pictures = torch.zeros(count, 3, 4, 4, dtype=torch.uint8)
    pictures[..., 0] = torch.arange(1, count + 1, dtype=torch.uint8)[:, None, None]
    return Photos(pictures)


def held(photos: Photos, sampler: Sampler, *, flips: bool) -> Held:
    """A feed of photos as they are."""
    mine = range(sampler.batch_size)
    choice = Choice(torch.arange(len(photos)), sampler, mine, flips)
    return Held(photos.pictures.flatten(1), Layout(photos.pictures.shape[-1]), choice, "")


def test_a_batch_holds_the_pictures_asked_for() -> None:
    sampler = Sampler(20, 6, 0)
    index, _ = sampler.batch(2)
    hr = next(held(numbered(20), sampler, flips=False).batches(2)).hr
    assert hr.dtype == torch.float32
    assert torch.equal((hr[:, 0, 0, 0] * 255).round().long(), index + 1)
    assert not hr[..., 1:].any()


def test_half_of_the_pictures_are_mirrored_anew_each_epoch() -> None:
    photos, sampler = numbered(200), Sampler(200, 200, 0)
    mirrored = torch.zeros(4, 200, dtype=torch.bool)
    some = [itertools.islice(held(photos, sampler, flips=f).batches(0), 4) for f in (True, False)]
    for epoch, (batch, unturned) in enumerate(zip(*some, strict=True)):
        index, _ = sampler.batch(epoch)
        hr, plain = batch.hr, unturned.hr
        assert torch.equal(batch.noise, unturned.noise)
        turned = hr[:, 0, 0, 0] == 0
        assert torch.equal(torch.where(turned[:, None, None, None], hr.flip(-1), hr), plain)
        mirrored[epoch, index] = turned
    assert 0.4 < mirrored.float().mean().item() < 0.6
    assert len({tuple(row.tolist()) for row in mirrored}) == 4


# --- framing ------------------------------------------------------------------------------------


def rows(width: int, height: int) -> Image.Image:
    """A picture whose red is the row and whose green is the column."""
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


def test_squash_takes_the_whole_picture() -> None:
    picture = rows(89, 109)
    squashed = codec.frame(picture, "squash", 64)
    assert squashed.size == (64, 64)
    assert squashed.tobytes() == picture.resize((64, 64), Image.Resampling.BICUBIC).tobytes()
    reds = np.asarray(squashed)[:, 0, 0]
    assert reds[0] <= 1
    assert reds[-1] >= 107


@pytest.mark.parametrize("framing", ["square", "squash"])
@pytest.mark.parametrize("size", [(89, 109), (200, 50), (3, 7), (1, 1)])
def test_framed_pictures_have_exactly_the_size_asked_for(
    framing: codec.Framing, size: tuple[int, int]
) -> None:
    assert codec.frame(rows(*size), framing, 32).size == (32, 32)


# --- decoded photos ----------------------------------------------------------------------------


def test_broken_pictures_are_counted_named_and_left_out(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 20, 24)
    files[3].write_bytes(b"not a picture")
    files[9].write_bytes(files[9].read_bytes()[:200])
    photos = decoded(files, Data(size=16))
    assert photos.pictures.shape == (18, 3, 16, 16)
    assert photos.pictures.dtype == torch.uint8
    assert len(photos.broken) == 2
    assert files[3].name in photos.broken[0]
    assert files[9].name in photos.broken[1]
    good = [file for number, file in enumerate(files) if number not in (3, 9)]
    assert torch.equal(photos.pictures, decoded(good, Data(size=16)).pictures)


def test_too_many_broken_pictures_stop(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 10, 24)
    for file in files[:2]:
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"^2 of 10 pictures are broken, first .*000001\.png"):
        decoded(files, Data(size=16))


def test_decoded_pictures_are_the_framed_files(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    rows(89, 109).save(file)
    for framing in ("square", "squash"):
        photos = decoded([file], Data(framing=framing, size=64))
        expected = np.asarray(codec.frame(rows(89, 109), framing, 64))
        assert np.array_equal(photos.pictures[0].permute(1, 2, 0).numpy(), expected)
        assert photos.hr().max() <= 1


def test_fingerprints_tell_pixels_apart(tmp_path: Path, crops: Crops) -> None:
    photos = decoded(crops(tmp_path, 4, 24), Data(size=16))
    changed = photos.pictures.clone()
    changed[3, 2, 15, 15] ^= 1
    prints = [photos.fingerprint(), Photos(changed).fingerprint()]
    assert len(set(prints)) == 2
    assert all(len(text) == 16 for text in prints)
    assert Photos(photos.pictures.clone()).fingerprint() == prints[0]


# --- training and held-out photos ---------------------------------------------------------------


def as_set(photos: Photos) -> set[bytes]:
    return {picture.numpy().tobytes() for picture in photos.pictures}


def split(source: Path | str, val: Path | None = None) -> tuple[Photos, Photos]:
    """Return (training, held-out) photos."""
    feed, held_out = data.open_feed(source, val, recipe(), device=CPU)
    assert isinstance(feed, Held)
    train = data.photos_of(feed.pixels[feed.choice.rows], feed.layout)
    assert train.fingerprint() == feed.fingerprint
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


def test_one_picture_is_too_few(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 1, 24)
    with pytest.raises(InputError, match="one picture is too few"):
        split(tmp_path)


def test_samples_never_show_the_astronaut(monkeypatch: pytest.MonkeyPatch) -> None:
    def astronaut() -> None:
        raise AssertionError("the demo scores her: nothing may train on her")

    monkeypatch.setattr(skimage.data, "astronaut", astronaut)
    assert "astronaut" not in data.SAMPLE_PHOTOS
    train, held_out = split("samples")
    assert (len(train), len(held_out)) == (400, 40)


def test_samples_are_the_same_every_time_and_another_seed_gives_others() -> None:
    first, again = data.samples(Data(size=32), count=20), data.samples(Data(size=32), count=20)
    assert first.pictures.shape == (20, 3, 32, 32)
    assert torch.equal(first.pictures, again.pictures)
    assert not torch.equal(first.pictures, data.samples(Data(size=32), count=20, seed=1).pictures)


def test_held_out_samples_are_of_parts_that_training_never_sees() -> None:
    """No column of a photograph is in both: the crops of one are of other pixels."""
    marked = Image.fromarray(np.zeros((80, 400, 3), dtype=np.uint8))
    marked.paste((255, 255, 255), (300, 0, 400, 80))
    with pytest.MonkeyPatch.context() as patch:
        for name in data.SAMPLE_PHOTOS:
            patch.setattr(skimage.data, name, lambda: np.asarray(marked))
        assert data.samples(Data(size=16), count=20).pictures.max() == 0
        assert data.samples(Data(size=16), count=20, held_out=True).pictures.min() == 255


def test_validation_takes_the_val_split_of_a_folder_that_has_one(
    crops: Callable[[Path, int, int], list[Path]], tmp_path: Path
) -> None:
    crops(tmp_path / "train", 4, 16)
    crops(tmp_path / "val", 2, 16)
    train, held_out = split(tmp_path, tmp_path)
    assert (len(train), len(held_out)) == (4, 2)


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(InputError, match="no training data at ''"):
        data.locate("")


# --- feeds --------------------------------------------------------------------------------------


def first(feed: Feed, count: int, start: int = 0) -> list[Batch]:
    batches = list(itertools.islice(feed.batches(start), count))
    feed.close()
    return batches


def same(batches: Sequence[Batch], others: Sequence[Batch]) -> bool:
    return len(batches) == len(others) and all(
        torch.equal(a.hr, b.hr)
        and torch.equal(a.noise, b.noise)
        and (a.lr is b.lr is None or (a.lr is not None and torch.equal(a.lr, b.lr)))
        for a, b in zip(batches, others, strict=True)
    )


@pytest.fixture
def some_broken(tmp_path: Path, crops: Crops) -> Path:
    """Forty-one pictures, of which the second and the thirtieth can't be read."""
    files = crops(tmp_path / "pictures", 41, 24)
    files[1].write_bytes(b"not a picture")
    files[29].write_bytes(files[29].read_bytes()[:300])
    return tmp_path / "pictures"


@pytest.mark.parametrize("flips", [True, False])
def test_a_feed_yields_what_the_sampler_says(tmp_path: Path, crops: Crops, flips: bool) -> None:
    """Bit for bit what choosing picture by picture gives, over several epochs and plans."""
    files = crops(tmp_path, 41, 24)
    its = recipe(seed=5, data={"flips": flips})
    photos = decoded([f for n, f in enumerate(files) if n % 20], its.data)
    feed, held_out = data.open_feed(tmp_path, None, its, device=CPU)
    assert (feed.count, len(held_out), feed.kept) == (38, 3, "device")
    assert feed.fingerprint == photos.fingerprint()
    sampler = Sampler(38, 6, 5)
    for step, batch in enumerate(first(feed, 150)):
        index, keys = sampler.batch(step)
        hr = photos.hr()[index]
        if flips:
            hr = torch.where(feeds.flipped(keys)[:, None, None, None], hr.flip(-1), hr)
        assert torch.equal(batch.hr, hr)
        assert torch.equal(batch.noise, feeds.noise_seeds(keys))
        assert batch.lr is None


@pytest.mark.parametrize(
    ("keep", "workers"), [("disk", 1), ("disk", 2), ("files", 0), ("files", 2)]
)
def test_pictures_are_the_same_wherever_they_are_kept(
    some_broken: Path, tmp_path: Path, keep: Keep, workers: int
) -> None:
    opened = functools.partial(
        data.open_feed, some_broken, None, recipe(), device=CPU, cache=tmp_path / "cache"
    )
    held, photos = opened(keep="device")
    feed, others = opened(keep=keep, workers=workers)
    assert feed.kept == keep
    assert feed.count == held.count == 37
    assert feed.fingerprint == held.fingerprint
    assert list(feed.broken) == list(held.broken)
    assert [Path(text.split(":")[0]).name for text in feed.broken] == ["000002.png", "000030.png"]
    assert torch.equal(photos.pictures, others.pictures)
    assert same(first(held, 70), first(feed, 70))
    assert same(first(held, 9, start=67), first(feed, 9, start=67))


@pytest.mark.parametrize("keep", ["device", "disk", "files"])
def test_shares_of_two_processes_make_up_the_batch(some_broken: Path, keep: Keep) -> None:
    opened = functools.partial(data.open_feed, some_broken, None, recipe(), device=CPU, keep=keep)
    whole = first(opened()[0], 9, start=5)
    halves = [first(opened(share=Share(rank, 2), workers=1)[0], 9, start=5) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert [len(part.hr) for part in parts] == [3, 3]
        assert torch.equal(batch.hr, torch.cat([part.hr for part in parts]))
        assert torch.equal(batch.noise, torch.cat([part.noise for part in parts]))


def test_a_batch_that_cant_be_shared_evenly_is_refused() -> None:
    with pytest.raises(InputError, match=r"batch_size 6 can't be divided evenly among 4 processes"):
        data.open_feed("samples", None, recipe(), device=CPU, share=Share(0, 4))


def test_a_feed_draws_nothing_from_the_generator_of_the_networks(some_broken: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    for keep in ("device", "disk", "files"):
        torch.manual_seed(3)
        feed, _ = data.open_feed(some_broken, None, recipe(), device=CPU, keep=keep, workers=1)
        first(feed, 2)
        assert torch.equal(torch.rand(4), expected)


def test_a_feed_can_begin_again_and_leaves_nothing_running(some_broken: Path) -> None:
    for keep in ("disk", "files"):
        feed, _ = data.open_feed(some_broken, None, recipe(), device=CPU, keep=keep, workers=2)
        batches = feed.batches(0)
        early = [next(batches) for _ in range(3)]
        batches = feed.batches(0)
        assert same(early, [next(batches) for _ in range(3)])
        feed.close()
        assert not multiprocessing.active_children()
        assert all("ThreadPool" not in thread.name for thread in threading.enumerate())


def test_a_picture_that_vanishes_during_a_run_is_named(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 4, 24)
    feed, _ = data.open_feed(
        tmp_path, None, recipe(), device=CPU, keep="files", workers=1, cache=False
    )
    files[2].unlink()
    with pytest.raises(InputError, match=r"changed since this run began: .*000003\.png: no such"):
        first(feed, 3)


def test_a_worker_that_is_killed_is_one_clear_line(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 4, 24)
    feed, _ = data.open_feed(tmp_path, None, recipe(), device=CPU, keep="files", workers=1)
    batches = feed.batches(0)
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(SrkitError, match="a process that decodes was ended, maybe for want of"):
        list(itertools.islice(batches, 10_000))
    assert not multiprocessing.active_children()


def test_sources_can_be_given_to_fresh_processes(tmp_path: Path, crops: Crops) -> None:
    source, _ = data.find(crops(tmp_path, 4, 24)[0].parent, recipe())
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again.decode(2), source.decode(2))


@pytest.mark.long
def test_workers_can_be_started_afresh(some_broken: Path) -> None:
    """As on Windows and macOS, where nothing is inherited from this process."""
    opened = functools.partial(data.open_feed, some_broken, None, recipe(), device=CPU)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        feed = first(opened(keep="files", workers=1)[0], 8)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert same(feed, first(opened()[0], 8))


def test_samples_are_fed_too() -> None:
    feed, held_out = data.open_feed("samples", None, recipe(), device=CPU)
    assert (feed.count, len(held_out), feed.kept) == (400, 40, "device")
    assert feed.fingerprint == data.samples(Data(size=16)).fingerprint()
    assert first(feed, 1)[0].hr.shape == (6, 3, 16, 16)


def test_no_more_pictures_are_held_out_than_validation_uses(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MOST_HELD_OUT", 5)
    crops(tmp_path / "train", 20, 24)
    files = crops(tmp_path / "val", 12, 24)
    files[11].write_bytes(b"never looked at")
    _, held_out = data.open_feed(tmp_path, None, recipe(), device=CPU)
    assert torch.equal(held_out.pictures, decoded(files[:5], Data(size=16)).pictures)
    files[2].write_bytes(b"")
    with pytest.raises(TooManyBrokenError, match=r"^1 of 6 pictures are broken"):
        data.open_feed(tmp_path, None, recipe(), device=CPU)


def test_too_many_broken_pictures_stop_a_run_with_all_names(tmp_path: Path, crops: Crops) -> None:
    for file in crops(tmp_path, 30, 24)[::4]:
        file.write_bytes(b"")
    for keep in ("device", "disk", "files"):
        with pytest.raises(TooManyBrokenError, match=r"^8 of 30 pictures are broken, f") as raised:
            data.open_feed(tmp_path, None, recipe(), device=CPU, keep=keep)
        assert len(raised.value.broken) == 8
        assert "\n" not in str(raised.value)


def test_progress_ends_at_the_number_of_pictures(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 150, 8)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    data.open_feed(tmp_path, None, recipe(), device=CPU, progress=progress)
    assert seen == [(min(done, 150), 150) for done in range(16, 166, 16)]


# --- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by one entry with each picture that a folder's source decodes."""
    seen: list[int] = []
    original = sources.Files.decode

    def decode(self: sources.Files, number: int) -> np.ndarray:
        seen.append(number)
        return original(self, number)

    monkeypatch.setattr(sources.Files, "decode", decode)
    return seen


KEPT = [("device", "pixels"), ("disk", "pixels"), ("files", "survey")]


@pytest.mark.parametrize(("keep", "suffix"), KEPT)
def test_pictures_are_decoded_once(
    some_broken: Path, tmp_path: Path, decodes: list[int], keep: Keep, suffix: str
) -> None:
    opened = functools.partial(
        data.open_feed, some_broken, recipe=recipe(), device=CPU, cache=tmp_path, keep=keep
    )
    held_out_too, _ = opened(val=some_broken)
    assert sorted(set(decodes)) == list(range(41))
    assert [file.suffix for file in tmp_path.glob("*.*")] == [f".{suffix}"]
    decodes.clear()
    again, _ = opened(val=None)
    assert len(decodes) == (2 if keep == "files" else 0)  # the held-out ones
    assert again.fingerprint != held_out_too.fingerprint  # now some are held out
    assert list(again.broken) == list(held_out_too.broken)


@pytest.mark.parametrize(("keep", "suffix"), KEPT)
@pytest.mark.parametrize("damage", ["cut", "pixel", "text", "empty", "longer"])
def test_a_damaged_cache_is_made_anew(
    some_broken: Path, tmp_path: Path, decodes: list[int], keep: Keep, suffix: str, damage: str
) -> None:
    opened = functools.partial(
        data.open_feed, some_broken, None, recipe(), device=CPU, cache=tmp_path, keep=keep
    )
    expected = first(opened()[0], 7)
    (file,) = tmp_path.glob(f"*.{suffix}")
    whole = file.read_bytes()
    at = 0 if damage == "pixel" else len(whole) - 100
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    damaged = {"cut": whole[:-1000], "empty": b"", "longer": whole + b" "}.get(damage, changed)
    file.write_bytes(damaged)
    decodes.clear()
    assert same(first(opened()[0], 7), expected)
    assert len(decodes) >= 41
    assert file.read_bytes() == whole


def test_other_pictures_framings_and_sizes_have_caches_of_their_own(
    tmp_path: Path, crops: Crops
) -> None:
    files = crops(tmp_path / "pictures", 4, 24)
    cache = tmp_path / "cache"

    def opened(**settings: Any) -> int:
        data.open_feed(files[0].parent, None, recipe(data=settings), device=CPU, cache=cache)
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
    """As two sets of uncompressed pictures from archives that store no times."""
    files = crops(tmp_path / "pictures", 2, 24)
    prints = []
    for colour in (10, 20):
        for file in files:
            Image.new("RGB", (24, 24), (colour, 0, 0)).save(file, "bmp")
            os.utime(file, ns=(0, 0))
        feed, _ = data.open_feed(
            files[0].parent, None, recipe(), device=CPU, cache=tmp_path / "cache"
        )
        prints.append(feed.fingerprint)
        time.sleep(0.02)
    assert prints[0] != prints[1]


def test_what_killed_runs_had_begun_to_write_is_deleted(some_broken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    old, new, foreign = (
        folder / f".{name}.part" for name in (f"{'0a' * 16}.pixels.x", f"{'0b' * 16}.pixels.y", "z")
    )
    for file in (old, new, foreign):
        file.touch()
        if file != new:
            os.utime(file, (0, 0))
    data.open_feed(some_broken, None, recipe(), device=CPU, cache=folder)
    assert (old.exists(), new.exists(), foreign.exists()) == (False, True, True)


def test_memory_holds_the_decoded_pictures_once(some_broken: Path) -> None:
    source, _ = data.find(some_broken, recipe())
    pixels = cache.obtain(source, "memory", None).pixels
    assert pixels is not None
    assert len(pixels) == 39
    assert pixels.untyped_storage().nbytes() == source.expected  # made before the first was decoded


def test_pairs_that_grow_while_they_are_decoded_are_one_clear_line(
    some_broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = data.find(some_broken, recipe())
    decode = sources.Files.decode

    def more(self: sources.Files, number: int) -> np.ndarray:
        return decode(self, number).repeat(2, axis=0)

    monkeypatch.setattr(sources.Files, "decode", more)
    with pytest.raises(InputError, match="changed while they were decoded"):
        cache.obtain(source, "memory", None)


def test_a_moved_folder_is_still_known_and_named_by_its_new_name(
    some_broken: Path, tmp_path: Path, decodes: list[int]
) -> None:
    data.open_feed(some_broken, None, recipe(), device=CPU, cache=tmp_path)
    moved = some_broken.rename(tmp_path / "moved")
    decodes.clear()
    feed, _ = data.open_feed(moved, None, recipe(), device=CPU, cache=tmp_path)
    assert not decodes
    assert feed.broken[0].startswith(f"{moved / '000002.png'}: not a readable picture")
    assert "pictures" not in "".join(feed.broken)


def test_a_small_set_isnt_cached_unasked_and_a_slow_one_is(
    some_broken: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "default"))
    data.open_feed(some_broken, None, recipe(), device=CPU)
    assert not (tmp_path / "default").exists()
    monkeypatch.setattr(cache, "SLOW", 0)
    data.open_feed(some_broken, None, recipe(), device=CPU, cache=False)
    assert not (tmp_path / "default").exists()
    data.open_feed(some_broken, None, recipe(), device=CPU)
    assert len(list((tmp_path / "default").iterdir())) == 1


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


@pytest.mark.parametrize("keep", ["device", "disk"])
def test_a_full_disk_is_a_note_and_no_error(some_broken: Path, tmp_path: Path, keep: Keep) -> None:
    where = tmp_path / "cache"
    with full_disk():
        feed, _ = data.open_feed(some_broken, None, recipe(), device=CPU, cache=where, keep=keep)
    assert feed.kept == {"device": "device", "disk": "files"}[keep]
    assert feed.notes[0].startswith(f"can't keep decoded pictures in {where}: ")
    assert not list(where.glob("*.pixels"))
    assert not list(where.glob(".*"))
    assert feed.count == 37


def test_a_cache_that_cant_be_made_is_a_note_too(some_broken: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for share in (Share(), Share(0, 2)):
        feed, _ = data.open_feed(
            some_broken, None, recipe(), device=CPU, cache=tmp_path / "file", share=share
        )
        assert len(feed.notes) == 1


def test_of_processes_together_one_decodes(
    some_broken: Path, tmp_path: Path, decodes: list[int]
) -> None:
    def opened(rank: int) -> str:
        share = Share(rank, 2)
        feed, _ = data.open_feed(
            some_broken, some_broken, recipe(), device=CPU, cache=tmp_path, share=share
        )
        return feed.fingerprint

    with ThreadPoolExecutor() as pool:
        prints = list(pool.map(opened, range(2)))
    assert len(set(prints)) == 1
    assert len(decodes) == 41 + 2 * 41  # and each decodes the held-out ones
    assert [file.suffix for file in tmp_path.glob("*.*")] == [".pixels"]  # and no lock


# --- room ---------------------------------------------------------------------------------------


def test_pictures_are_kept_where_there_is_room(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = data.find(crops(tmp_path, 10, 24)[0].parent, recipe())
    need = source.expected
    assert need == 10 * 3 * 16 * 16
    memory = disk = 0
    memory_now = lambda: SimpleNamespace(available=memory)  # noqa: E731
    monkeypatch.setattr(storage.psutil, "virtual_memory", memory_now)
    monkeypatch.setattr(storage, "_container_limits", lambda: iter(()))
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda path: SimpleNamespace(free=disk))
    here = Place(CPU, tmp_path / "not" / "yet")
    assert here.choose(source) == "files"
    disk = 2 * need
    assert here.choose(source) == "disk"
    assert Place(CPU, None).choose(source) == "files"
    memory = 2 * need
    assert here.choose(source) == "device"
    assert Place(CPU, tmp_path, processes=2).choose(source) == "disk"


def test_on_a_gpu_its_free_memory_counts(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = data.find(crops(tmp_path, 10, 24)[0].parent, recipe())
    gpu = Place(torch.device("cuda"), None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * source.expected, 10**12))
    assert gpu.choose(source) == "device"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * source.expected, 10**12))
    assert gpu.choose(source) == "files"
    # The way to a GPU leads through the host's memory, or else through a file.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * source.expected, 10**12))
    monkeypatch.setattr(Place, "host", lambda self: 0)
    assert gpu.choose(source) == "files"
    assert Place(torch.device("cuda"), tmp_path).choose(source) == "device"


def test_keeping_on_disk_needs_a_cache(some_broken: Path) -> None:
    with pytest.raises(InputError, match="can't be kept on disk without a cache"):
        data.open_feed(some_broken, None, recipe(), device=CPU, keep="disk", cache=False)


def test_a_set_that_fits_only_the_gpu_gets_there_through_a_file(
    some_broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = first(data.open_feed(some_broken, None, recipe(), device=CPU)[0], 3)
    monkeypatch.setattr(Place, "host", lambda self: 0)
    feed, _ = data.open_feed(some_broken, None, recipe(), device=CPU, keep="device", cache=tmp_path)
    assert len(list(tmp_path.glob("*.pixels"))) == 1
    assert same(first(feed, 3), expected)
