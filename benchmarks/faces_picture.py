"""The astronaut's face without and with `--faces`: the image of the documentation.

    python benchmarks/faces_picture.py --out docs/pictures/astronaut-faces.png

scikit-image's astronaut (Eileen Collins; NASA, public domain) is degraded (x4, noise of sigma
0.02), upscaled by the general model, and her face is restored. From left to right, all at twice
the size of the original's pixels: LR, without, with, and the original. `benchmarks/faces.py` has
the scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from srkit_restore.restore import FaceRestorer

from srkit import registry
from srkit.imaging import codec
from srkit.inference.model import Model
from srkit.models.load import load

MODEL, GENERAL, SCALE = "faces", "lanczos", 4
NOISES = (0.0, 0.02)
SHOWN = (116, 0, 316, 200)  # of the original: her head
ZOOM, GAP = 2, 4


def degraded(hr: Image.Image, noise: float, seed: int) -> np.ndarray:
    """Return LR pixels, ``hw3``, uint8."""
    degrade = registry.build_scaled("degradations", "faces-x4", SCALE, {"noise": noise})
    return pixels(degrade(codec.to_tensor(hr), seeds=torch.tensor([seed])))


def pixels(image: torch.Tensor) -> np.ndarray:
    """Return one image, ``13HW`` in [0, 1], as ``HW3``, uint8."""
    return codec.to_uint8(image)[0].permute(1, 2, 0).numpy().copy()


def astronaut(model: Model, general: Model, noise: float) -> dict[str, np.ndarray]:
    """Return the astronaut as ``hr``, ``lr``, ``general`` and ``faces``.

    Raises:
        RuntimeError: Her face wasn't found.
    """
    hr = skimage.data.astronaut()
    lr = degraded(Image.fromarray(hr), noise, 0)
    without = general.upscale(lr)
    restored = without.copy()
    if not any(f.restored for f in FaceRestorer(model).restore(lr, restored, scale=SCALE)):
        raise RuntimeError("the astronaut's face was not found")
    return {"hr": hr, "lr": lr, "general": without, "faces": restored}


def main() -> None:
    """Write the image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/astronaut-faces.png"))
    arguments = parser.parse_args()
    made = astronaut(load(MODEL, device="cpu"), load(GENERAL, device="cpu"), NOISES[1])
    made["lr"] = made["lr"].repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    left, top, right, bottom = SHOWN
    gap = np.full(((bottom - top) * ZOOM, GAP, 3), 255, np.uint8)
    row: list[np.ndarray] = []
    for name in ("lr", "general", "faces", "hr"):
        part = made[name][top:bottom, left:right]
        row += [part.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1), gap]
    codec.write(Image.fromarray(np.concatenate(row[:-1], axis=1)), arguments.out)


if __name__ == "__main__":
    main()
