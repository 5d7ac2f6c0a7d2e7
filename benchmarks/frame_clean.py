"""Frame photos as the protocols `paper` and `square` do: the training set of faces-clean.

    python benchmarks/frame_clean.py CELEBA FACES OUT [--utkface UTKFACE] [--lfw LFW]

CELEBA holds aligned, cropped photos of CelebA in `train` and `val`, FACES square crops of it. Each
is written twice, as PNG of 128x128: the whole photo squashed and its largest centred square; of a
square crop, itself and the middle .8165 of its width stretched, as the others are squashed.
`srkit train faces-clean --data OUT/train --val OUT/val` takes it from there.

For faces-identity, UTKFACE holds aligned faces, of a third of which the middle .82 to 1 of the
width is stretched; LFW a folder a person, of whom those with a single photo are taken, three times:
whole, its middle .94, and .97 of it a little beside the middle. The others' photos are for
measuring.
"""

from __future__ import annotations

import argparse
import random
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


def frame_lfw(photo: Image.Image, file: Path) -> None:
    """Write three squares of a photo."""
    rng = random.Random(file.name)
    for number, (share, reach) in enumerate(((1.0, 0.0), (0.94, 0.0), (0.97, 0.015))):
        side = share * photo.width
        left, top, _, _ = centred(photo, side, side)
        left, top = (edge + rng.uniform(-reach, reach) * photo.width for edge in (left, top))
        box = (left, top, left + side, top + side)
        write(photo, box, file.with_name(f"{file.stem}-{number}.png"))


def main() -> None:
    """Frame all photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("celeba", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--utkface", type=Path)
    parser.add_argument("--lfw", type=Path)
    arguments = parser.parse_args()
    train, val = arguments.out / "train", arguments.out / "val"
    for split, wholes in (("train", train / "squash"), ("val", val)):
        for file in sorted((arguments.celeba / split).iterdir()):
            photo = Image.open(file).convert("RGB")
            write(photo, (0, 0, *photo.size), wholes / f"{file.stem}.png")
            if split == "train":
                side = min(photo.size)
                write(photo, centred(photo, side, side), train / "square" / f"{file.stem}.png")
    for file in sorted(arguments.faces.iterdir()):
        photo = Image.open(file).convert("RGB")
        part = centred(photo, STRETCHED * photo.width, photo.height)
        write(photo, (0, 0, *photo.size), train / "crop" / f"{file.stem}.png")
        write(photo, part, train / "crop-stretched" / f"{file.stem}.png")
    for file in sorted(arguments.utkface.iterdir()) if arguments.utkface else ():
        rng = random.Random(file.name)
        if rng.random() < 1 / 3:
            photo = Image.open(file).convert("RGB")
            part = centred(photo, rng.uniform(0.82, 1) * photo.width, photo.height)
            write(photo, part, train / "utkface" / f"{file.stem}.png")
    for person in sorted(arguments.lfw.iterdir()) if arguments.lfw else ():
        first, *others = sorted(person.iterdir())
        if not others:
            frame_lfw(Image.open(first).convert("RGB"), train / "lfw" / first.name)


if __name__ == "__main__":
    main()
