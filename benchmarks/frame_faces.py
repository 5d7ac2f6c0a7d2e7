"""Cut faces out of square photos as DIC's table of CelebA frames them: faces-x8's second training.

    python benchmarks/frame_faces.py PHOTOS OUT

Writes one PNG of 160x160 a photo. MTCNN finds the eyes and the corners of the mouth; the scale,
rotation and shift that bring them nearest to their means over DIC's images (least squares) give the
frame, which is 3% wider than DIC's, so that random squares of .94 to the whole of it have DIC's at
their middle. Photos of which more than 6% of the frame is missing are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from skimage.transform import estimate_transform

SIDE = 160
WIDER = 131 / 127.1
OUTSIDE = 0.06
BATCH = 32
# Left eye, right eye, middle of the mouth: shares of the side, the means over 80 of DIC's images.
MEANS = np.array([[0.3565, 0.352], [0.6535, 0.352], [0.507, 0.653]])
Array = np.ndarray[Any, np.dtype[np.float64]]


def framed(photo: Image.Image, landmarks: Array) -> Image.Image | None:
    """Return a photo's face in the frame; landmarks are those of `MEANS`, in pixels."""
    targets = ((MEANS - 0.5) / WIDER + 0.5) * SIDE
    place = estimate_transform("similarity", targets, landmarks)
    x, y = place([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]).T
    missing = max(0.0, -min(x.min(), y.min()), x.max() - photo.width, y.max() - photo.height)
    if missing > OUTSIDE * SIDE * place.scale:
        return None
    pad = int(np.ceil(missing)) + 3
    pixels = np.pad(np.asarray(photo), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    affine = place.params[:2].copy()
    affine[:, 2] += pad
    return Image.fromarray(pixels).transform(
        (SIDE, SIDE), Image.Transform.AFFINE, affine.ravel(), Image.Resampling.BICUBIC
    )


def main() -> None:
    """Frame all photos of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    finder = MTCNN(device="cpu", select_largest=True, post_process=False, min_face_size=40)
    given.out.mkdir(parents=True, exist_ok=True)
    files, written = sorted(given.photos.iterdir()), 0
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        photos = [Image.open(file).convert("RGB") for file in batch]
        small = [photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC) for photo in photos]
        _, sure, found = finder.detect(small, landmarks=True)
        for file, photo, each, points in zip(batch, photos, sure, found, strict=True):
            if points is None or each[0] < 0.95:
                continue
            five = points[0] / SIDE * photo.width
            face = framed(photo, np.array([five[0], five[1], (five[3] + five[4]) / 2]))
            if face is not None:
                face.save(given.out / f"{file.stem}.png")
                written += 1
    print(f"{written} of {len(files)} photos", file=sys.stderr)


if __name__ == "__main__":
    main()
