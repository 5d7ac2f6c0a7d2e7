"""Where images come from: folders by name and layout, real pairs, addresses of plugins."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from loading import CPU, Crops, first, recipe
from PIL import Image, ImageFilter

from srkit import Data, InputError
from srkit.data import pairs, sources
from srkit.data.datasets import Dataset, ImageDataset, photo_keys, row_keys
from srkit.data.loader import Storage, open_loader
from srkit.data.sources import SAMPLE_PHOTOS, Files
from srkit.imaging import codec

# --- files --------------------------------------------------------------------------------------


def test_images_are_listed_as_paths_sort_once_each_without_hidden_ones(
    tmp_path: Path,
) -> None:
    names = ("b.PNG", "a/z.jpg", "a-1.png", "a/b/c.webp", ".hidden/x.png", "a/.y.png", "t.txt")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "b.PNG")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    found = codec.listed(tmp_path)
    assert found == sorted(found)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == [
        *("a/b/c.webp", "a/z.jpg", "a-1.png", "b.PNG", "gone.png", "link.png", "self.png")
    ]
    (tmp_path / "only").mkdir()
    for name in ("b", "c"):  # both lead to one folder, whose files count once
        (tmp_path / "only" / name).symlink_to(tmp_path / "a")
    below = [file.relative_to(tmp_path).as_posix() for file in codec.listed(tmp_path / "only")]
    assert below[:2] == ["only/b/b/c.webp", "only/b/round/a-1.png"]
    assert len(below) == 7


def test_a_folder_that_cant_be_read_is_named(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images would be missing, and nobody told."""
    crops(tmp_path / "open", 3, 20)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"closed: can't look into this folder \(Permission den"):
        codec.listed(tmp_path)


def test_bytes_are_read_under_the_name_they_are_given() -> None:
    with pytest.raises(InputError, match=r"^here/x: not a readable image \(of no known format"):
        codec.read("here/x", b"none")
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 8, 7)).save(stream, "png")
    assert codec.read("x", stream.getvalue()).rgb.getpixel((0, 0)) == (9, 8, 7)


def test_an_image_that_is_a_program_isnt_run(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png: EPS is a program and isn't run"):
        codec.read(tmp_path / "x.png")


def test_damage_of_any_kind_is_a_broken_image() -> None:
    """A byte is enough for an error that isn't Pillow's own."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "png")
    whole = stream.getvalue()
    at = whole.index(b"IHDR") - 1  # the length of the first chunk
    with pytest.raises(InputError, match=r"^x: not a readable image \(") as raised:
        codec.read("x", whole[:at] + b"\0" + whole[at + 1 :])
    assert isinstance(raised.value.__cause__, ValueError)


def celeba(root: Path, crops: Crops) -> None:
    """Images 1 to 12: eight to train on, two held out, two for the test."""
    files = crops(root / "img_align_celeba", 12, 20)
    parts = [0] * 8 + [1] * 2 + [2] * 2
    lines = [f"{file.name} {part}\n" for file, part in zip(files, parts, strict=True)]
    (root / "list_eval_partition.txt").write_text("".join(lines))


@pytest.mark.parametrize("below", ["", "celeba"])
def test_torchvisions_celeba_layout_is_read(tmp_path: Path, crops: Crops, below: str) -> None:
    celeba(tmp_path / below, crops)
    names = {split: [f.name for f in sources.split_files(tmp_path, split)] for split in SPLITS}
    assert names["train"] == [f"{number:06d}.png" for number in range(1, 9)]
    assert names["val"] == ["000009.png", "000010.png"]
    assert names["test"] == ["000011.png", "000012.png"]


SPLITS = ("train", "val", "test")


def test_celeba_without_its_partition_is_all_for_training(tmp_path: Path, crops: Crops) -> None:
    celeba(tmp_path, crops)
    (tmp_path / "list_eval_partition.txt").unlink()
    assert [len(sources.split_files(tmp_path, split)) for split in SPLITS] == [12, 0, 0]


def test_a_partition_of_other_images_is_refused(tmp_path: Path, crops: Crops) -> None:
    celeba(tmp_path, crops)
    (tmp_path / "list_eval_partition.txt").write_text("999999.jpg 0\n")
    with pytest.raises(InputError, match="names none of the images"):
        sources.split_files(tmp_path)


@pytest.mark.parametrize("names", [SPLITS, ("Train", "Valid", "TEST"), ("training", "validation")])
def test_folders_named_after_splits_are_read(
    tmp_path: Path, crops: Crops, names: tuple[str, ...]
) -> None:
    for count, name in enumerate(names, start=1):
        crops(tmp_path / name, count, 20)
    counts = [len(sources.split_files(tmp_path, split)) for split in SPLITS]
    assert counts == [1, 2, 3][: len(names)] + [0] * (3 - len(names))
    assert {f.parent.name for f in sources.split_files(tmp_path)} == {names[0]}


def test_folders_that_look_split_and_arent_read_so_are_one_line(
    tmp_path: Path, crops: Crops
) -> None:
    for folder in ("train_HR", "DIV2K-valid", "Val_Kilmer"):
        crops(tmp_path / folder, 2, 24)
    loader, _ = open_loader(tmp_path, None, recipe(), device=CPU, cache=False)
    assert loader.notes[0] == (
        f"{tmp_path} looks split, and isn't read so: rename DIV2K-valid, Val_Kilmer, train_HR to "
        "train, val or test"
    )
    (tmp_path / "train_HR").rename(tmp_path / "Train")
    assert "rename DIV2K-valid, Val_Kilmer to" in sources.notes_on(tmp_path)[0]
    (tmp_path / "DIV2K-valid").rename(tmp_path / "people")
    (tmp_path / "Train").rename(tmp_path / "more")
    assert sources.notes_on(tmp_path) == []


def test_a_plain_folder_is_all_for_training_subfolders_too(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 3, 20)
    crops(tmp_path / "more", 2, 20)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._000001.png").write_bytes(b"a hidden file, as archives from a Mac have")
    assert [len(sources.split_files(tmp_path, split)) for split in SPLITS] == [5, 0, 0]


def test_held_out_images_never_train_though_train_has_no_folder(
    tmp_path: Path, crops: Crops
) -> None:
    crops(tmp_path, 3, 20)
    crops(tmp_path / "val", 2, 20)
    crops(tmp_path / "test", 2, 20)
    assert [f.parent.name for f in sources.split_files(tmp_path)] == [tmp_path.name] * 3


def test_a_folder_of_held_out_images_alone_is_refused(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "val", 2, 20)
    with pytest.raises(InputError, match="no images to train on in it, only those in val"):
        open_loader(tmp_path, None, recipe(), device=CPU)


# --- names --------------------------------------------------------------------------------------


def test_a_name_is_looked_up_under_srkit_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces").mkdir()
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    assert sources.locate("faces") == tmp_path / "faces"
    assert sources.locate(tmp_path / "faces") == tmp_path / "faces"


def test_a_missing_data_set_says_where_it_was_looked_for_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    with pytest.raises(InputError) as raised:
        sources.locate("nowhere")
    message = str(raised.value)
    assert message.startswith(
        f"no training data at 'nowhere' (not a folder here, nor under {tmp_path}"
    )
    assert "data='samples'" in message
    assert "img_align_celeba" not in message
    with pytest.raises(InputError, match=r"img_align_celeba\.zip.*data='samples'"):
        sources.locate("celeba")
    with pytest.raises(InputError, match="no validation data at 'x'"):
        sources.locate("x", purpose="validation data")


# --- real pairs ---------------------------------------------------------------------------------


def paired(folder: Path, count: int, size: tuple[int, int], scale: int = 4, first: int = 0) -> None:
    """Write pairs whose lr is every ``scale``-th pixel of hr: so they tell where they lie."""
    generator = np.random.default_rng(first)
    for number in range(first, first + count):
        hr = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        for kind, pixels in (("hr", hr), ("lr", hr[::scale, ::scale])):
            file = folder / kind / "some" / f"{number:03d}.{'png' if kind == 'hr' else 'bmp'}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(pixels)).save(file)


@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_pairs_are_fed_together(tmp_path: Path, storage: Storage, flips: bool) -> None:
    paired(tmp_path, 30, (16, 16))
    its = recipe(pairs=True, flips=flips)
    loader, held_out = open_loader(tmp_path, None, its, device=CPU, storage=storage)
    assert (loader.count, len(held_out), loader.storage) == (28, 2, storage)
    assert held_out.lr is not None
    assert held_out.lr.dtype == torch.uint8
    assert torch.equal(held_out.lr, held_out.pixels[..., ::4, ::4])
    seen = set()
    for batch in first(loader, 14):
        assert batch.lr is not None
        assert batch.lr.dtype == batch.hr.dtype == torch.float32
        lr = batch.hr[..., ::4, ::4]
        turned = batch.hr.flip(-1)[..., ::4, ::4].flip(-1)
        same = (batch.lr == lr).flatten(1).all(1)
        assert (same | (batch.lr == turned).flatten(1).all(1)).all()
        seen |= set(same.tolist())
    assert seen == ({True, False} if flips else {True})


def test_streamed_pairs_are_those_in_memory(tmp_path: Path) -> None:
    paired(tmp_path, 30, (40, 52))
    (tmp_path / "lr" / "some" / "004.bmp").write_bytes(b"no image")
    loaders = [
        open_loader(tmp_path, None, recipe(pairs=True), device=CPU, storage=storage)[0]
        for storage in ("memory", "stream")
    ]
    assert loaders[0].fingerprint == loaders[1].fingerprint
    assert "004.bmp: not a readable image" in loaders[0].broken[0]
    for one, other in zip(*(first(loader, 50) for loader in loaders), strict=True):
        assert torch.equal(one.hr, other.hr)
        assert one.lr is not None
        assert other.lr is not None
        assert torch.equal(one.lr, other.lr)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (48, 32), (52, 44), (40, 23 * 4)])
def test_larger_pairs_are_cut_into_a_centred_grid(tmp_path: Path, width: int, height: int) -> None:
    paired(tmp_path, 1, (width, height))
    source, _ = pairs.find(tmp_path, recipe(pairs=True))
    down, across = height // 16, width // 16
    rows = torch.from_numpy(source.decode(0))
    assert len(rows) == down * across
    assert source.expected == len(rows)
    hr, lr = source.layout.split(rows)
    assert lr is not None
    assert torch.equal(lr, hr[..., ::4, ::4])
    whole = np.asarray(Image.open(source.files[0][1]))
    top, left = height // 4 % 4 // 2 * 4, width // 4 % 4 // 2 * 4
    assert abs((height - 16 * down) / 2 - top) <= 4
    for number, square in enumerate(hr):
        y, x = top + number // across * 16, left + number % across * 16
        assert np.array_equal(square.permute(1, 2, 0), whole[y : y + 16, x : x + 16])


@pytest.mark.parametrize("framing", ["square", "squash", "jitter", "pairs"])
def test_a_photo_has_the_keys_that_it_has_in_a_dataset(tmp_path: Path, framing: str) -> None:
    paired(tmp_path, 1, (52, 44))
    hr = tmp_path / "hr" / "some" / "000.png"
    if framing == "pairs":
        dataset: Dataset = pairs.find(tmp_path, recipe(pairs=True))[0]
    else:
        dataset = ImageDataset(Files((hr,)), Data(size=16, framing=framing, photo_size=24))
    keys = photo_keys(hr, dataset.framing)
    assert torch.equal(keys, row_keys(dataset.decode(0), dataset.layout))
    assert len(keys.unique()) == len(keys) == (6 if framing == "pairs" else 1)


def scenes(folder: Path, count: int) -> list[Path]:
    """Write pairs of real photographs: lr is blurred, reduced, made noisy and a JPEG file."""
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in SAMPLE_PHOTOS[:2]]
    generator = np.random.default_rng(0)
    files = []
    for kind in ("lr", "hr"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        photo, step = photos[number % 2], number // 2
        left, top = 30 + 29 * step, 20 + 11 * step
        hr = photo.crop((left, top, left + 192, top + 192))
        hr.save(folder / "hr" / f"{number:03d}.png")
        lr = hr.filter(ImageFilter.GaussianBlur(4)).resize((48, 48), Image.Resampling.BICUBIC)
        noisy = np.asarray(lr) + generator.normal(0, 8, (48, 48, 3))
        files.append(folder / "lr" / f"{number:03d}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(files[-1], quality=40)
    return files


def notes_on_pairs(folder: Path) -> list[str]:
    loader, _ = open_loader(folder, None, recipe(pairs=True), device=CPU, cache=False)
    return [note for note in loader.notes if "lr" in note]


def test_pairs_of_other_scenes_and_shifted_ones_are_named_before_training(tmp_path: Path) -> None:
    lrs = scenes(tmp_path, 16)
    assert notes_on_pairs(tmp_path) == []
    lrs[3].rename(tmp_path / "aside")
    lrs[8].rename(lrs[3])
    (tmp_path / "aside").rename(lrs[8])
    moved = np.roll(np.asarray(Image.open(lrs[9])), 2, axis=1)
    Image.fromarray(moved).save(lrs[9], quality=95)
    hrs = [tmp_path / "hr" / f"{number:03d}.png" for number in (3, 8, 9)]
    assert notes_on_pairs(tmp_path) == [
        "pairs whose lr and hr seem to show different scenes: 2 of 16 compared "
        f"({hrs[0]}, {hrs[1]})",
        f"pairs whose lr seems shifted by a pixel or more: 1 of 16 compared ({hrs[2]})",
    ]


def test_lr_that_is_shifted_everywhere_is_one_line(tmp_path: Path) -> None:
    for file in scenes(tmp_path, 12):
        moved = np.roll(np.asarray(Image.open(file)), (2, -1), axis=(0, 1))
        Image.fromarray(moved).save(file, quality=95)
    line = "lr lies -1 px across and +2 px down of hr, over all pairs"
    assert notes_on_pairs(tmp_path) == [line]


def test_squares_of_one_image_are_all_held_out_or_none(tmp_path: Path) -> None:
    paired(tmp_path, 21, (32, 32))
    loader, held_out = open_loader(tmp_path, None, recipe(pairs=True), device=CPU)
    assert (loader.count, len(held_out)) == (19 * 4, 2 * 4)


def test_pairs_have_splits_in_any_case(tmp_path: Path) -> None:
    paired(tmp_path / "train", 4, (16, 16))
    paired(tmp_path / "val", 3, (16, 16))
    (tmp_path / "train" / "lr").rename(tmp_path / "train" / "LR")
    (tmp_path / "val" / "hr").rename(tmp_path / "val" / "Hr")
    loader, held_out = open_loader(tmp_path, None, recipe(pairs=True), device=CPU)
    assert (loader.count, len(held_out)) == (4, 3)
    paired(tmp_path / "more", 5, (16, 16))
    loader, held_out = open_loader(
        tmp_path / "train", tmp_path / "more", recipe(pairs=True), device=CPU
    )
    assert (loader.count, len(held_out)) == (4, 5)


def test_pairs_are_known_by_other_usual_names_too(tmp_path: Path) -> None:
    paired(tmp_path, 4, (16, 16))
    (tmp_path / "lr").rename(tmp_path / "LQ")
    (tmp_path / "hr").rename(tmp_path / "GT")
    for file in (tmp_path / "LQ").rglob("*.png"):
        file.rename(file.with_stem(f"{file.stem}x4"))
    loader, _ = open_loader(tmp_path, None, recipe(pairs=True), device=CPU)
    assert loader.count == 3


def test_pairs_that_dont_fit_are_broken_and_named(tmp_path: Path) -> None:
    paired(tmp_path, 40, (16, 16))
    paired(tmp_path, 1, (16, 16), scale=2, first=40)
    paired(tmp_path, 1, (32, 12), first=41)
    loader, _ = open_loader(tmp_path, tmp_path, recipe(pairs=True), device=CPU)
    assert loader.count == 40
    assert [text.rpartition("/")[2] for text in loader.broken] == [
        "040.png: 16x16 is not 4 times its lr's 8x8",
        "041.png: 32x12 is too small for squares of 16",
    ]


def test_images_without_a_partner_are_named(tmp_path: Path) -> None:
    paired(tmp_path, 6, (16, 16))
    (tmp_path / "lr" / "some" / "001.bmp").unlink()
    for number in (2, 3, 4):
        (tmp_path / "hr" / "some" / f"00{number}.png").unlink()
    with pytest.raises(InputError, match=r"^4 images in .* no partner .* first .*001\.png, ") as e:
        pairs.find(tmp_path, recipe(pairs=True))
    assert "003.bmp" in str(e.value)
    assert "004.bmp" not in str(e.value)


def test_a_name_twice_is_no_partner(tmp_path: Path) -> None:
    paired(tmp_path, 2, (16, 16))
    Image.new("RGB", (4, 4)).save(tmp_path / "lr" / "some" / "001.png")
    with pytest.raises(InputError, match=r"001\.bmp and .*001\.png have the same name"):
        pairs.find(tmp_path, recipe(pairs=True))


def test_pairs_need_their_folders(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "hr", 3, 16)
    with pytest.raises(InputError, match="pairs need subfolders lr and hr"):
        open_loader(tmp_path, None, recipe(pairs=True), device=CPU)
    for source in ("samples", "hf:owner/name", "x-{0..3}.tar"):
        with pytest.raises(InputError, match="pairs are read from a folder"):
            open_loader(source, tmp_path, recipe(pairs=True), device=CPU)


@pytest.mark.parametrize("below", ["", "train"])
def test_pairs_arent_taken_for_images_to_train_on(tmp_path: Path, below: str) -> None:
    paired(tmp_path / below, 3, (16, 16))
    with pytest.raises(InputError, match=r"give Data\(pairs=True\) .* or data="):
        open_loader(tmp_path, None, recipe(), device=CPU)
    loader, _ = open_loader(tmp_path / below / "hr", None, recipe(), device=CPU)
    assert loader.count == 2


def test_empty_folders_called_lr_and_hr_are_no_pairs(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 3, 16)
    (tmp_path / "lr").mkdir()
    (tmp_path / "hr").mkdir()
    assert open_loader(tmp_path, None, recipe(), device=CPU)[0].count == 2


# --- addresses of plugins -----------------------------------------------------------------------

ZIP = """
import zipfile
from pathlib import Path

import srkit


class Zip:
    held_out = None

    def __init__(self, address):
        self.file = Path(address.removeprefix("zip:"))
        with zipfile.ZipFile(self.file) as archive:
            self.names = sorted(archive.namelist())

    def __len__(self):
        return len(self.names)

    def __getitem__(self, number):
        with zipfile.ZipFile(self.file) as archive:
            return archive.read(self.names[number])

    def name(self, number):
        return f"{self.file}:{self.names[number]}"

    def identity(self):
        return [self.file]


@srkit.hookimpl
def srkit_sources():
    return {"zip:": Zip, ".zip": Zip, "faces.idx": lambda folder: Zip(f"{folder}/faces.idx")}
"""


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_a_strangers_source_feeds_what_a_folder_does(
    fake_distribution: Callable[..., Path], tmp_path: Path, crops: Crops, storage: Storage
) -> None:
    fake_distribution("srkit-zip", {"zip_source": ZIP})
    (tmp_path / "marked").mkdir()
    files = crops(tmp_path / "photos", 41, 24)
    files[7].write_bytes(b"no image")
    archives = [tmp_path / "faces.zip", tmp_path / "marked" / "faces.idx"]
    for archive in archives:
        with zipfile.ZipFile(archive, "w") as file:
            for photo in files:
                file.write(photo, photo.name)
    expected, images = open_loader(tmp_path / "photos", None, recipe(), device=CPU)
    for address in (f"zip:{archives[0]}", str(archives[0]), str(tmp_path / "marked")):
        for _ in range(2):  # the second time from the cache
            loader, held_out = open_loader(
                address, None, recipe(), device=CPU, storage=storage, workers=0
            )
            assert torch.equal(held_out.pixels, images.pixels)
            assert loader.fingerprint == expected.fingerprint
            assert loader.broken[0].endswith(
                "000008.png: not a readable image (of no known format)"
            )
            for one, other in zip(first(loader, 8), first(expected, 8), strict=True):
                assert torch.equal(one.hr, other.hr)


def test_an_address_that_waits_for_an_extra_says_so(
    fake_distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_distribution(
        "srkit-lake",
        {"lake_source": "1"},
        entry_points={"lake": "lake_source [wet]"},
        requires=["no-such-thing; extra == 'wet'"],
        extras=["wet"],
    )
    with pytest.raises(
        InputError, match=r"^no training data at 'lake:x' .*with srkit-lake\[wet\]$"
    ):
        open_loader("lake:x", None, recipe(), device=CPU)
    with pytest.raises(InputError) as raised:
        open_loader("celeb", None, recipe(), device=CPU)
    assert "srkit-lake" not in str(raised.value)
