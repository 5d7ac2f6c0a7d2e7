"""Photos to batches: which pictures, how framed, in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srkit import InputError, data, images
from srkit.data import Photos, Sampler
from srkit.recipe import Data

Crops = Callable[[Path, int, int], list[Path]]


# --- which pictures make a batch ----------------------------------------------------------------


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


def test_a_batch_holds_the_pictures_asked_for() -> None:
    index, keys = Sampler(20, 6, 0).batch(2)
    hr, _ = data.batch(numbered(20), index, keys, flips=False)
    assert hr.dtype == torch.float32
    assert torch.equal((hr[:, 0, 0, 0] * 255).round().long(), index + 1)
    assert not hr[..., 1:].any()


def test_half_of_the_pictures_are_mirrored_anew_each_epoch() -> None:
    photos, sampler = numbered(200), Sampler(200, 200, 0)
    mirrored = torch.zeros(4, 200, dtype=torch.bool)
    for epoch in range(4):
        index, keys = sampler.batch(epoch)
        hr, noise = data.batch(photos, index, keys, flips=True)
        plain, same_noise = data.batch(photos, index, keys, flips=False)
        assert torch.equal(noise, same_noise)
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
    cut = np.asarray(images.frame(rows(*size), "square", side))
    assert cut.shape == (side, side, 3)
    assert cut[:, 0, 0].tolist() == list(range(first_row, first_row + side))
    assert cut[0, :, 1].tolist() == list(range(first_column, first_column + side))


def test_squash_takes_the_whole_picture() -> None:
    picture = rows(89, 109)
    squashed = images.frame(picture, "squash", 64)
    assert squashed.size == (64, 64)
    assert squashed.tobytes() == picture.resize((64, 64), Image.Resampling.BICUBIC).tobytes()
    reds = np.asarray(squashed)[:, 0, 0]
    assert reds[0] <= 1
    assert reds[-1] >= 107


@pytest.mark.parametrize("framing", ["square", "squash"])
@pytest.mark.parametrize("size", [(89, 109), (200, 50), (3, 7), (1, 1)])
def test_framed_pictures_have_exactly_the_size_asked_for(
    framing: images.Framing, size: tuple[int, int]
) -> None:
    assert images.frame(rows(*size), framing, 32).size == (32, 32)


# --- files --------------------------------------------------------------------------------------


def celeba(root: Path, crops: Crops) -> None:
    """Pictures 1 to 12: eight to train on, two held out, two for the test."""
    files = crops(root / "img_align_celeba", 12, 20)
    parts = [0] * 8 + [1] * 2 + [2] * 2
    lines = [f"{file.name} {part}\n" for file, part in zip(files, parts, strict=True)]
    (root / "list_eval_partition.txt").write_text("".join(lines))


@pytest.mark.parametrize("below", ["", "celeba"])
def test_torchvisions_celeba_layout_is_read(tmp_path: Path, crops: Crops, below: str) -> None:
    celeba(tmp_path / below, crops)
    names = {split: [f.name for f in data.split_files(tmp_path, split)] for split in SPLITS}
    assert names["train"] == [f"{number:06d}.png" for number in range(1, 9)]
    assert names["val"] == ["000009.png", "000010.png"]
    assert names["test"] == ["000011.png", "000012.png"]


SPLITS = ("train", "val", "test")


def test_celeba_without_its_partition_is_all_for_training(tmp_path: Path, crops: Crops) -> None:
    celeba(tmp_path, crops)
    (tmp_path / "list_eval_partition.txt").unlink()
    assert [len(data.split_files(tmp_path, split)) for split in SPLITS] == [12, 0, 0]


def test_a_partition_of_other_pictures_is_refused(tmp_path: Path, crops: Crops) -> None:
    celeba(tmp_path, crops)
    (tmp_path / "list_eval_partition.txt").write_text("999999.jpg 0\n")
    with pytest.raises(InputError, match="names none of the pictures"):
        data.split_files(tmp_path)


def test_folders_named_after_splits_are_read(tmp_path: Path, crops: Crops) -> None:
    for count, split in enumerate(SPLITS, start=1):
        crops(tmp_path / split, count, 20)
    assert [len(data.split_files(tmp_path, split)) for split in SPLITS] == [1, 2, 3]
    assert {f.parent.name for f in data.split_files(tmp_path)} == {"train"}


def test_a_plain_folder_is_all_for_training_subfolders_too(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 3, 20)
    crops(tmp_path / "more", 2, 20)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._000001.png").write_bytes(b"a hidden file, as archives from a Mac have")
    assert [len(data.split_files(tmp_path, split)) for split in SPLITS] == [5, 0, 0]


def test_held_out_pictures_never_train_though_train_has_no_folder(
    tmp_path: Path, crops: Crops
) -> None:
    crops(tmp_path, 3, 20)
    crops(tmp_path / "val", 2, 20)
    crops(tmp_path / "test", 2, 20)
    assert [f.parent.name for f in data.split_files(tmp_path)] == [tmp_path.name] * 3


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in it"):
        data.split_files(tmp_path)


def test_broken_pictures_are_counted_named_and_left_out(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 20, 24)
    files[3].write_bytes(b"not a picture")
    files[9].write_bytes(files[9].read_bytes()[:200])
    photos = data.decode(files, Data(size=16))
    assert photos.pictures.shape == (18, 3, 16, 16)
    assert photos.pictures.dtype == torch.uint8
    assert len(photos.broken) == 2
    assert files[3].name in photos.broken[0]
    assert files[9].name in photos.broken[1]
    good = [file for number, file in enumerate(files) if number not in (3, 9)]
    assert torch.equal(photos.pictures, data.decode(good, Data(size=16)).pictures)


def test_too_many_broken_pictures_stop(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 10, 24)
    for file in files[:2]:
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"^2 of 10 pictures are broken, first .*000001\.png"):
        data.decode(files, Data(size=16))


def test_decoded_pictures_are_the_framed_files(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    rows(89, 109).save(file)
    for framing in ("square", "squash"):
        photos = data.decode([file], Data(framing=framing, size=64))
        expected = np.asarray(images.frame(rows(89, 109), framing, 64))
        assert np.array_equal(photos.pictures[0].permute(1, 2, 0).numpy(), expected)
        assert photos.hr().max() <= 1


def test_fingerprints_tell_pixels_apart(tmp_path: Path, crops: Crops) -> None:
    photos = data.decode(crops(tmp_path, 4, 24), Data(size=16))
    changed = photos.pictures.clone()
    changed[3, 2, 15, 15] ^= 1
    prints = [photos.fingerprint(), Photos(changed).fingerprint()]
    assert len(set(prints)) == 2
    assert all(len(text) == 16 for text in prints)
    assert Photos(photos.pictures.clone()).fingerprint() == prints[0]


# --- names --------------------------------------------------------------------------------------


def test_a_name_is_looked_up_under_srkit_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces").mkdir()
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    assert data.locate("faces") == tmp_path / "faces"
    assert data.locate(tmp_path / "faces") == tmp_path / "faces"


def test_a_missing_data_set_says_where_it_was_looked_for_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    with pytest.raises(InputError) as raised:
        data.locate("nowhere")
    message = str(raised.value)
    assert message.startswith(
        f"no training data at 'nowhere' (not a folder here, nor under {tmp_path}"
    )
    assert "--data samples" in message
    assert "img_align_celeba" not in message
    with pytest.raises(InputError, match=r"img_align_celeba\.zip.*--data samples"):
        data.locate("celeba")
    with pytest.raises(InputError, match="no validation data at 'x'"):
        data.locate("x", purpose="validation data")


# --- training and held-out photos ---------------------------------------------------------------


def as_set(photos: Photos) -> set[bytes]:
    return {picture.numpy().tobytes() for picture in photos.pictures}


def test_a_plain_folder_holds_every_twentieth_photo_out(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 41, 24)
    train, held_out = data.load(tmp_path, None, Data(size=16))
    assert (len(train), len(held_out)) == (38, 3)
    assert not as_set(train) & as_set(held_out)


def test_a_split_of_its_own_is_held_out(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "train", 30, 24)
    crops(tmp_path / "val", 4, 20)
    train, held_out = data.load(tmp_path, None, Data(size=16))
    assert (len(train), len(held_out)) == (30, 4)


def test_held_out_photos_can_lie_elsewhere(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "a", 30, 24)
    crops(tmp_path / "b", 5, 24)
    train, held_out = data.load(tmp_path / "a", tmp_path / "b", Data(size=16))
    assert (len(train), len(held_out)) == (30, 5)


def test_one_picture_is_too_few(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 1, 24)
    with pytest.raises(InputError, match="one picture is too few"):
        data.load(tmp_path, None, Data(size=16))


def test_samples_never_show_the_astronaut(monkeypatch: pytest.MonkeyPatch) -> None:
    def astronaut() -> None:
        raise AssertionError("the demo scores her: nothing may train on her")

    monkeypatch.setattr(skimage.data, "astronaut", astronaut)
    assert "astronaut" not in data.SAMPLE_PHOTOS
    train, held_out = data.load("samples", None, Data(size=16))
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
    train, held_out = data.load(tmp_path, tmp_path, Data(size=16))
    assert (len(train), len(held_out)) == (4, 2)


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(InputError, match="no training data at ''"):
        data.locate("")
