"""Frame photos as the protocols `paper` and `square` do: the training set of faces-clean.

    python benchmarks/frame_clean.py CELEBA FACES OUT

CELEBA holds aligned, cropped photos of CelebA in `train` and `val`, FACES square crops of it. Each
is written twice, as PNG of 128x128: the whole photo squashed and its largest centred square; of a
square crop, itself and the middle .8165 of its width stretched, as the others are squashed.
`srkit train faces-clean --data OUT/train --val OUT/val` takes it from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

SIDE = 128
STRETCHED = 178 / 218  # width over height of CelebA's aligned photos
Box = tuple[float, float, float, float]


def write(photo: Image.Image, box: Box, file: Path) -> None:
    """Resize part of a photo and write it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box).save(file, compress_level=1)


def centred(photo: Image.Image, width: float, height: float) -> Box:
    """Return the middle of a photo."""
    left, top = (photo.width - width) / 2, (photo.height - height) / 2
    return (left, top, left + width, top + height)


def main() -> None:
    """Frame all photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    train, val = given.out / "train", given.out / "val"
    for split, wholes in (("train", train / "squash"), ("val", val)):
        for file in sorted((given.celeba / split).iterdir()):
            photo = Image.open(file).convert("RGB")
            write(photo, (0, 0, *photo.size), wholes / f"{file.stem}.png")
            if split == "train":
                side = min(photo.size)
                write(photo, centred(photo, side, side), train / "square" / f"{file.stem}.png")
    for file in sorted(given.faces.iterdir()):
        photo = Image.open(file).convert("RGB")
        part = centred(photo, STRETCHED * photo.width, photo.height)
        write(photo, (0, 0, *photo.size), train / "crop" / f"{file.stem}.png")
        write(photo, part, train / "crop-stretched" / f"{file.stem}.png")


if __name__ == "__main__":
    main()
