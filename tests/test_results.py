"""Images of other programs as methods, and the store of what needn't be computed twice."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import Fork
from PIL import Image

from srkit import InputError
from srkit.evaluation.methods import LR, Method, from_results, lr_key, methods, references, write_lr
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.store import Store
from srkit.imaging import codec


def small(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 4, 6, 3), dtype=np.uint8))


def tensor(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


# --- results ------------------------------------------------------------------------------------


def test_a_programs_images_are_found_by_their_input(tmp_path: Path) -> None:
    images = small(3)
    photos = [f"{number}.png" for number in range(4)]
    assert write_lr(zip(photos, [*images, images[0]], strict=True), tmp_path / "lr") == 3
    rows = (tmp_path / "lr-photos.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "file,photo"
    assert rows[1:] == [
        f"{lr_key(image)}.png,{photo}"
        for image, photo in zip([*images, images[0]], photos, strict=True)
    ]
    for file in (tmp_path / "lr").iterdir():
        with Image.open(file) as image:
            image.resize((24, 16), Image.Resampling.NEAREST).save(tmp_path / file.name)
    method = from_results("theirs", tmp_path, 4)
    wanted = tensor(images).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(method(tensor(images)), wanted)
    assert torch.equal(method(tensor(images[::-1])), wanted.flip(0))
    assert method.sha256 is not None
    Image.new("RGB", (24, 16)).save(tmp_path / f"{lr_key(images[0])}.png")
    assert from_results("theirs", tmp_path, 4).sha256 != method.sha256


def test_small_images_are_written_once(tmp_path: Path) -> None:
    images = small(2)
    write_lr(enumerate(images), tmp_path)
    file = tmp_path / f"{lr_key(images[0])}.png"
    file.write_bytes(b"somebody's")
    write_lr(enumerate(images), tmp_path)
    assert file.read_bytes() == b"somebody's"


def test_the_name_is_of_pixels_and_shape() -> None:
    image = small(1)[0]
    assert len(lr_key(image)) == 32
    assert lr_key(image) == lr_key(image.copy(order="F"))
    assert lr_key(image) != lr_key(image.reshape(6, 4, 3))
    assert lr_key(image) != lr_key(image[::-1])


def test_a_result_that_is_missing_or_of_another_size_is_one_line(tmp_path: Path) -> None:
    images = small(2)
    Image.new("RGB", (24, 16)).save(tmp_path / f"{lr_key(images[0])}.png")
    Image.new("RGB", (24, 15)).save(tmp_path / "other.png")
    theirs = from_results("theirs", tmp_path, 4)
    assert theirs(tensor(images[:1])).shape == (1, 3, 16, 24)
    with pytest.raises(InputError, match=r"results of 'theirs': .*\.png is missing; upscale all"):
        theirs(tensor(images))
    Image.new("RGB", (24, 15)).save(tmp_path / f"{lr_key(images[1])}.png")
    with pytest.raises(InputError, match="has 24x15 pixels, not 24x16"):
        theirs(tensor(images))


def test_a_folder_that_is_no_result_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        from_results("theirs", tmp_path / "none", 4)
    with pytest.raises(InputError, match="holds no"):
        from_results("theirs", tmp_path, 4)


# --- methods ------------------------------------------------------------------------------------


def test_interpolations_come_first_and_are_pillows() -> None:
    # Within the range, where Pillow, which rounds between its two passes, clamps nothing there.
    images = [image // 4 + 96 for image in small(2)]
    lr = tensor(images)
    interpolations = references(4)
    assert [method.name for method in interpolations] == ["nearest", "bicubic", "lanczos"]
    kernels = Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
    for method, kernel in zip(interpolations, kernels, strict=True):
        sr = method(lr)
        assert torch.equal(sr, codec.to_uint8(sr).float() / 255)
        for ours, image in zip(sr, images, strict=True):
            theirs = codec.to_tensor(Image.fromarray(image).resize((24, 16), kernel))
            assert (ours - theirs).abs().max() < 1.5 / 255


def test_a_name_stands_for_one_method() -> None:
    (nearest, *_) = references(4)
    with pytest.raises(InputError, match="two methods would be called 'nearest'"):
        methods([nearest], Protocol())
    from dataclasses import replace

    for name in (LR, "HR"):
        with pytest.raises(InputError, match=f"two methods would be called '{name}'"):
            methods([replace(nearest, name=name)], Protocol())


def test_a_size_that_a_network_cant_take_is_one_line() -> None:
    def upscale(lr: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("windows of 8 don't fit")

    with pytest.raises(InputError, match="'theirs' can't upscale images of 6x4: windows of 8"):
        Method("theirs", upscale)(tensor(small(1)))


# --- the store ----------------------------------------------------------------------------------


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "kept.sqlite")
    assert store.get("a", [b"1"]) == {}
    assert not store.file.exists()
    many = {str(n).encode(): bytes([n % 256]) * n for n in range(1007)}
    store.put("a", many)
    assert store.get("a", [*many, b"nothing"]) == many
    assert store.get("b", list(many)) == {}
    store.put("a", {b"1": b"new"})
    assert Store(store.file).get("a", [b"1"]) == {b"1": b"new"}
    store.delete()
    assert list((tmp_path / "deep").iterdir()) == []


def test_several_processes_keep_things_at_once(tmp_path: Path) -> None:
    file = tmp_path / "kept.sqlite"

    def write(number: int) -> None:
        for turn in range(20):
            Store(file).put("a", {f"{number} {turn}".encode(): b"x" * 1000})

    forks = [Fork(tmp_path, partial(write, number)) for number in range(2)]
    assert [fork.end()[0] for fork in forks] == [0, 0]
    keys = [f"{number} {turn}".encode() for number in range(2) for turn in range(20)]
    assert len(Store(file).get("a", keys)) == 40


def test_a_write_that_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept.sqlite")
    store.put("a", {b"1": b"whole"})

    class Torn(dict[bytes, bytes]):
        def items(self):  # type: ignore[no-untyped-def]
            yield b"1", b"half"
            raise sqlite3.OperationalError("disk is full")

    with pytest.raises(InputError, match=r"kept\.sqlite: can't be used \(disk is full\)"):
        store.put("a", Torn({b"1": b""}))
    assert store.get("a", [b"1"]) == {b"1": b"whole"}


def test_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "kept.sqlite"
    file.write_bytes(b"no database" * 200)
    with pytest.raises(InputError, match=r"kept\.sqlite: can't be used .*delete it"):
        Store(file).get("a", [b"1"])
