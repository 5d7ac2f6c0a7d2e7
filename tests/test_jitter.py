"""Random squares of photos, and what a recipe says of a run's course."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from training import lines, tiny

from srkit import Data, Loss, Recipe, registry, train
from srkit.data.jitter import jittered, resampling
from srkit.data.sampler import Batch
from srkit.errors import RecipeError
from srkit.models import checkpoint

EDGE = 96


@pytest.fixture(scope="module")
def photos() -> Tensor:
    image = Image.fromarray(skimage.data.astronaut()).resize((EDGE, EDGE))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()[None] / 255


@pytest.fixture
def folder(tmp_path: Path, crops: Callable[[Path, int, int], list[Path]]) -> Path:
    return crops(tmp_path / "photos", 12, 48)[0].parent


def recipe(**data: object) -> Recipe:
    return tiny(data=Data(framing="jitter", photo_size=EDGE, **data))  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "length", "after"), [(0, 96, 32), (10, 60, 32), (5.5, 20, 32)])
def test_a_square_is_what_pillow_makes_of_it(
    photos: Tensor, start: float, length: float, after: int
) -> None:
    matrix = resampling(torch.tensor([start]), torch.tensor([float(length)]), EDGE, after)
    ours = (matrix[:, None] @ photos @ matrix[:, None].mT).clamp(0, 1)
    box = (start, start, start + length, start + length)
    green = Image.fromarray(photos[0, 1].numpy())  # as floats, which Pillow doesn't round
    theirs = green.resize((after, after), Image.Resampling.BICUBIC, box=box)
    difference = ours[0, 1].numpy() - np.asarray(theirs).clip(0, 1)
    # Pillow's kernels end at the box; these still see the photo around it.
    assert np.abs(difference[2:-2, 2:-2]).max() < 1e-5


def test_squares_follow_from_seeds_alone_and_differ(photos: Tensor) -> None:
    made = recipe(size=16)
    seeds = torch.arange(6)
    whole = jittered(Batch(photos.expand(6, -1, -1, -1), seeds), made, 0)
    alone = jittered(Batch(photos, seeds[4:5]), made, 99)
    assert whole.hr.shape == (6, 3, 16, 16)
    assert torch.allclose(whole.hr[4:5], alone.hr, atol=1e-6)
    assert len({image.numpy().tobytes() for image in whole.hr}) == 6


def test_a_fixed_crop_of_the_whole_is_the_photo_reduced(photos: Tensor) -> None:
    hr = jittered(Batch(photos, torch.arange(1)), recipe(size=32, crop=(1.0, 1.0)), 0).hr
    reduced = torch.nn.functional.interpolate(photos, (32, 32), mode="bicubic", antialias=True)
    assert torch.allclose(hr, reduced.clamp(0, 1), atol=1e-5)


def test_larger_images_come_in_smaller_batches_and_both_occur(photos: Tensor) -> None:
    made = recipe(size=16, extra_sizes=(32,))
    batch = Batch(photos.expand(8, -1, -1, -1), torch.arange(8))
    shapes = {jittered(batch, made, step).hr.shape for step in range(20)}
    assert shapes == {(8, 3, 16, 16), (2, 3, 32, 32)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"extra_sizes": [32]}, "extra_sizes need framing 'jitter'"),
        ({"framing": "jitter", "pairs": True}, "jitter' is for photos"),
        ({"framing": "jitter", "crop": [0.9, 0.5]}, "crop wants [least, largest]"),
        ({"framing": "jitter", "size": 64, "photo_size": 32}, "photo_size 32 is below size 64"),
        ({"framing": "jitter", "size": 64, "extra_sizes": [32]}, "extra_sizes are larger"),
        ({"framing": "jitter", "size": 64, "extra_sizes": [66]}, "size 66 is no multiple"),
    ],
)
def test_what_does_not_fit_is_one_line(data: dict[str, object], message: str) -> None:
    values = tiny().model_dump() | {"data": data}
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(values)
    assert message in str(caught.value)


def test_losses_take_turns_and_gradients_are_clipped(tmp_path: Path, folder: Path) -> None:
    made = tiny(
        steps=8,
        data=Data(framing="jitter", size=16, extra_sizes=(32,), photo_size=48),
        losses={
            "l1": Loss(weight=1.0, during=(0.0, 0.5)),
            "log-mse": Loss(weight=0.02, during=(0.5, 1.0)),
        },
    ).changed({"optimizer.clip": 1e-3})
    train(made, data=folder, out=tmp_path / "run", device="cpu", log_every=1)
    for record in lines(tmp_path / "run"):
        if "losses" in record:
            losses = record["losses"]
            active = losses["l1"] if record["step"] <= 4 else 0.02 * losses["log-mse"]
            assert losses["loss"] == pytest.approx(active, rel=1e-5)


def test_a_jittered_run_resumes_bit_for_bit(tmp_path: Path, folder: Path) -> None:
    made = tiny(steps=6, data=Data(framing="jitter", size=16, extra_sizes=(32,), photo_size=48))
    whole = train(made, data=folder, out=tmp_path / "whole", device="cpu")
    train(made, data=folder, out=tmp_path / "again", device="cpu", checkpoint_every=3)
    for file in (tmp_path / "again").glob("checkpoint-*6.safetensors"):
        file.unlink()
    again = train(made, data=folder, out=tmp_path / "again", device="cpu", resume=True)
    a, b = checkpoint.read(whole.model), checkpoint.read(again.model)
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def test_log_mse_is_the_mean_psnr() -> None:
    sr, hr = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    loss = registry.build("losses", "log-mse", epsilon=0.0)
    psnr = -10 * (sr - hr).square().mean(dim=(1, 2, 3)).log10()
    assert float(loss(sr, hr)) == pytest.approx(float(-psnr.mean() * np.log(10) / 10), rel=1e-5)
