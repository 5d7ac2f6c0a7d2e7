"""What lies hidden under transparency changes nothing, whatever is done with a photo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from conftest import Cli
from PIL import Image
from training import tiny

from srkit.models import checkpoint
from srkit.training import run_folder

CPU = ("--device", "cpu")
COUNT = 4


@pytest.fixture(
    params=[".png", *(pytest.param(each, marks=pytest.mark.long) for each in (".webp", ".tif"))]
)
def cut_outs(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """Two folders of a portrait that was cut out: black and noise lie under its transparency."""
    portrait = skimage.data.astronaut()[:250, 120:330]
    rows, columns = np.ogrid[:250, :210]
    inside = ((rows - 120) / 110) ** 2 + ((columns - 105) / 90) ** 2 < 1
    noise = np.random.default_rng(0).integers(0, 256, portrait.shape, np.uint8)
    folders = [tmp_path / "black", tmp_path / "noise"]
    options = {"lossless": True, "exact": True} if request.param == ".webp" else {}
    for folder, hidden in zip(folders, (np.zeros_like(noise), noise), strict=True):
        folder.mkdir()
        for number in range(COUNT):
            shown = np.where(inside[..., None], portrait // (1 + number / 9), hidden)
            image = Image.fromarray(np.dstack([shown.astype(np.uint8), 255 * inside]).astype("u1"))
            image.save(folder / f"{number}{request.param}", **options)
    first = [next(folder.iterdir()).read_bytes() for folder in folders]
    assert first[0] != first[1]
    return folders


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.rglob(pattern))}


@pytest.fixture
def equal(cut_outs: list[Path], cli: Cli) -> Callable[..., list[Path]]:
    """Run a verb for both folders; return where results lie."""

    def call(verb: str, *words: object) -> list[Path]:
        outs = [folder.with_name(f"{folder.name}-out") for folder in cut_outs]
        for folder, out in zip(cut_outs, outs, strict=True):
            places = {"IN": folder, "OUT": out}
            status, _, err = cli(verb, *(places.get(str(word), word) for word in words))
            assert status == 0, err
        return outs

    return call


def test_upscale(equal: Callable[..., list[Path]]) -> None:
    one, other = equal("upscale", "IN", "--out", "OUT", "--model", "bicubic", "--scale", "2", *CPU)
    assert len(contents(one, "?.*")) == COUNT
    assert contents(one, "?.*") == contents(other, "?.*")


def test_bench(equal: Callable[..., list[Path]]) -> None:
    reports = equal("bench", "bicubic", "--data", "IN", "--report", "OUT", *CPU)
    one, other = (json.loads((out / "report.json").read_text())["quality"] for out in reports)
    assert one["scores"] == other["scores"]
    assert len(one["scores"]["bicubic"]["psnr"]) == COUNT


def test_images_for_other_programs(equal: Callable[..., list[Path]]) -> None:
    one, other = (
        contents(out, "*.png") for out in equal("bench", "--data", "IN", "--write-lr", "OUT")
    )
    assert sorted(one.values()) == sorted(other.values())
    assert len(one) == COUNT


def test_degrade(equal: Callable[..., list[Path]]) -> None:
    one, other = equal("degrade", "IN", "OUT", "--compare")
    assert len(contents(one, "*.png")) == COUNT
    assert contents(one, "*.png") == contents(other, "*.png")


def test_prepare(equal: Callable[..., list[Path]]) -> None:
    one, other = equal("prepare", "IN", "OUT", "--width", "64", "--workers", "1", *CPU)
    assert len(contents(one, "*.png")) == COUNT
    assert contents(one, "*.png") == contents(other, "*.png")


def test_train(equal: Callable[..., list[Path]], tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(tiny(steps=3, **{"validate_every": 3}).to_toml())
    outs = equal("train", recipe, "--data", "IN", "--out", "OUT", *CPU)
    one, other = (checkpoint.read(out / checkpoint.MODEL).tensors for out in outs)
    assert all(torch.equal(one[name], other[name]) for name in one)
    scores = [
        json.loads((out / run_folder.LOG).read_text().splitlines()[-1])["validation"]
        for out in outs
    ]
    assert scores[0] == scores[1]
