"""Values that were computed once and stored: no change of the code may move them unnoticed.

They hold on any processor to the stated tolerances. A change that means to move them stores new
ones and says why.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from conftest import Cli
from PIL import Image

import srkit

# Left, top, right, bottom of the astronaut's face, wider, and the whole image.
BOXES = {"a": (160, 40, 288, 168), "b": (150, 20, 310, 180), "c": (0, 0, 512, 512)}
PIXELS = [(85, 128), (128, 85), (254, 254)]  # row and column of those that are stored


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three images, 128x128."""
    folder = tmp_path_factory.mktemp("stored")
    for name, box in BOXES.items():
        crop = Image.fromarray(skimage.data.astronaut()).crop(box)
        crop.resize((128, 128), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


def figures(image: Image.Image) -> tuple[float, float, list[int]]:
    """Return mean, deviation and some pixels of an RGB image, in 0..255."""
    array = np.asarray(image.convert("RGB"))
    pixels = [int(value) for place in PIXELS for value in array[place]]
    return float(array.mean()), float(array.std()), pixels


@pytest.mark.parametrize(
    "suffix",
    [".png", ".jpg"]
    + [pytest.param(each, marks=pytest.mark.long) for each in (".tif", ".bmp", ".webp", ".avif")],
)
def test_upscaled_files(suffix: str, images: Path, tmp_path: Path, cli: Cli) -> None:
    face = Image.open(images / "a.png").resize((64, 64), Image.Resampling.BICUBIC)
    face.save(tmp_path / "face.png")
    out = tmp_path / f"large{suffix}"
    code, _, error = cli("upscale", tmp_path / "face.png", "--out", out, "--tile", "32")
    assert code == 0, error
    mean, deviation, pixels = figures(Image.open(out))
    lossless = suffix in (".png", ".tif", ".bmp")
    # A sum in another order may be rounded to the other of two neighbours.
    assert mean == pytest.approx(133.521, abs=0.02 if lossless else 0.3)
    assert deviation == pytest.approx(65.763, abs=0.02 if lossless else 0.3)
    stored = [201, 167, 136, 137, 107, 80, 215, 207, 206]
    assert pixels == pytest.approx(stored, abs=1 if lossless else 6)


def test_scores_of_images(images: Path) -> None:
    quality = srkit.bench(["faces"], data=images, device="cpu").quality
    assert quality is not None
    stored = {
        "bicubic": ([22.8415, 21.3350, 17.1913], [0.6865, 0.6460, 0.5250]),
        "lanczos": ([23.1821, 21.6353, 17.5168], [0.7085, 0.6625, 0.5550]),
        "faces": ([24.6298, 24.1234, 19.0312], [0.7982, 0.7696, 0.6708]),
    }
    for method, (psnr, ssim) in stored.items():
        assert quality.scores[method]["psnr"] == pytest.approx(psnr, abs=0.01)
        assert quality.scores[method]["ssim-y"] == pytest.approx(ssim, abs=0.001)
