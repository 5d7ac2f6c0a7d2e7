"""Hugging Face data sets: from the Hub by id, and folders that ``save_to_disk`` wrote."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from loading import CPU, Crops, recipe
from training import decoded

from srkit import InputError
from srkit.data.datasets import ImageDataset, TooManyBrokenError
from srkit.data.held_out import first_images
from srkit.data.loader import Storage, open_loader
from srkit.recipe import Data

datasets = pytest.importorskip("datasets")
from srkit_hf.source import HubImages, images_of, open_source  # noqa: E402


def table(files: list[Path], column: str = "image") -> Any:
    """A data set of these files' bytes, with a column that is none of our business."""
    cells = [{"bytes": file.read_bytes(), "path": None} for file in files]
    kinds = datasets.Features({column: datasets.Image(), "age": datasets.Value("int64")})
    rows = {column: cells, "age": list(range(len(files)))}
    return datasets.Dataset.from_dict(rows, features=kinds)


@pytest.fixture
def saved(tmp_path: Path, crops: Crops) -> tuple[Path, list[Path]]:
    """A data set that ``save_to_disk`` wrote, and the files it is of."""
    files = crops(tmp_path / "images", 41, 24)
    files[7].write_bytes(b"no image")
    table(files).save_to_disk(str(tmp_path / "arrow"))
    return tmp_path / "arrow", files


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_a_saved_data_set_feeds_the_images_in_it(
    saved: tuple[Path, list[Path]], tmp_path: Path, storage: Storage
) -> None:
    folder, files = saved
    expected, photos = open_loader(files[0].parent, None, recipe(), device=CPU)
    for _ in range(2):  # the second time from the cache
        loader, held_out = open_loader(
            folder,
            None,
            recipe(),
            device=CPU,
            storage=storage,
            workers=2,
            cache=tmp_path / "cache",
        )
        assert loader.fingerprint == expected.fingerprint
        assert loader.broken[0].startswith(f"{folder}[7]: not a readable image")
        assert torch.equal(held_out.pixels, photos.pixels)
        both = (itertools.islice(each.batches(0), 8) for each in (loader, expected))
        for one, other in zip(*both, strict=True):
            assert torch.equal(one.hr, other.hr)
        loader.close()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_splits_of_a_data_set(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path / "images", 12, 24)
    parts = {"train": files[:7], "validation": files[7:10], "test": files[10:]}
    splits = datasets.DatasetDict({name: table(some, "photo") for name, some in parts.items()})
    splits.save_to_disk(str(tmp_path / "arrow"))
    loader, held_out = open_loader(tmp_path / "arrow", None, recipe(), device=CPU)
    assert (loader.count, len(held_out)) == (7, 3)
    assert torch.equal(held_out.pixels, decoded(files[7:10], Data(size=16)).pixels)
    loader, held_out = open_loader(files[0].parent, tmp_path / "arrow", recipe(), device=CPU)
    assert (loader.count, len(held_out)) == (12, 3)


def test_an_id_of_the_hub_is_loaded_as_data_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, crops: Crops
) -> None:
    asked: list[Any] = []

    def load_dataset(*names: str, **options: Any) -> Any:
        asked.append((names, options))
        return datasets.DatasetDict({"train": table(crops(tmp_path, 21, 24))})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    loader, held_out = open_loader("hf:owner/faces@v1.0", None, recipe(), device=CPU)
    assert (loader.count, len(held_out)) == (19, 2)
    open_source("hf:faces")
    plain = {"revision": None, "trust_remote_code": False}
    made = datasets.DatasetDict({"train": table([]), "test": table(crops(tmp_path, 2, 24))})
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, **options: made)
    with pytest.raises(InputError, match="hf:x: no images in it"):
        open_source("hf:x")
    assert asked == [(("owner/faces",), {**plain, "revision": "v1.0"}), (("faces",), plain)]


def test_without_the_hub_an_id_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"^can't load hf:nobody/nothing: .+") as raised:
        open_loader("hf:nobody/nothing", None, recipe(), device=CPU)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="no data set's id: give hf:OWNER/NAME"):
        open_loader("hf:../../etc", None, recipe(), device=CPU)


def test_a_damaged_data_set_is_one_clear_line(saved: tuple[Path, list[Path]]) -> None:
    (saved[0] / "state.json").write_text("{}")
    with pytest.raises(InputError, match=f"^can't load {saved[0]}: "):
        open_loader(saved[0], None, recipe(), device=CPU)


def test_data_sets_of_no_or_several_images_are_refused(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path / "images", 3, 24)
    two = table(files, "left").add_column("right", [{"bytes": b"", "path": None}] * 3)
    two = two.cast_column("right", datasets.Image())
    cases = {
        "two": (two, "several \\(left, right\\) among left, age, right"),
        "none": (table(files).remove_columns("image"), "has none among age"),
    }
    for name, (made, message) in cases.items():
        made.save_to_disk(str(tmp_path / name))
        with pytest.raises(InputError, match=message):
            open_source(str(tmp_path / name))
    with pytest.raises(InputError, match="no images in it"):
        images_of("x", table([]))
    table(files).train_test_split(1).save_to_disk(str(tmp_path / "parts"))
    open_source(str(tmp_path / "parts"))
    wrong = datasets.DatasetDict({"a": table(files), "b": table(files)})
    wrong.save_to_disk(str(tmp_path / "wrong"))
    with pytest.raises(InputError, match="no split 'train' in it, only a, b"):
        open_source(str(tmp_path / "wrong"))
    lists = datasets.Features({"image": datasets.Sequence(datasets.Image())})
    cells = [[{"bytes": files[0].read_bytes(), "path": None}]]
    datasets.Dataset.from_dict({"image": cells}, features=lists).save_to_disk(str(tmp_path / "ls"))
    with pytest.raises(InputError, match="has none among image"):
        open_source(str(tmp_path / "ls"))


def test_rows_may_name_files_and_empty_ones_are_broken(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path, 3, 24)
    cells = [{"bytes": None, "path": str(files[0])}, {"bytes": None, "path": "gone.png"}, None]
    kinds = datasets.Features({"image": datasets.Image()})
    made = datasets.Dataset.from_dict({"image": cells}, features=kinds)
    source = HubImages("x", images_of("x", made))
    rows = ImageDataset(source, Data(size=16))
    expected = decoded(files[:1], Data(size=16)).pixels.flatten(1)
    assert torch.equal(torch.from_numpy(rows.decode(0)), expected)
    with pytest.raises(InputError, match=r"^x\[1\]: gone\.png: no such file"):
        rows.decode(1)
    with pytest.raises(InputError, match=r"^x\[2\]: no image in this row"):
        rows.decode(2)
    assert rows.identity() is None  # it is in memory only
    with pytest.raises(TooManyBrokenError, match=r"^2 of 3"):
        first_images(rows, recipe())
