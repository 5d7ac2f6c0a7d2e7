"""Frame photos for the second training of `faces`: square crops, stretched ones, fewer of UTKFace.

    python benchmarks/frame_web.py FACES OUT

FACES holds square crops of CelebA (`celeba`) and aligned faces of UTKFace (`utkface`), 160 px and
more. OUT/train gets CelebA's as they are, once more with the middle .8165 of the width stretched to
a square of 160 px, as a whole photo of CelebA is where it is squashed, and six tenths of UTKFace;
OUT/val gets 100 of each, which aren't among them.
"""

from __future__ import annotations

import argparse
import random
import shutil
from pathlib import Path

from frame_clean import STRETCHED, centred
from PIL import Image

SIDE = 160
HELD_OUT = 100  # of each set
SHARE = 0.6  # of UTKFace


def stretch(file: Path, out: Path) -> None:
    """Write the middle of a square crop, stretched."""
    photo = Image.open(file).convert("RGB")
    box = centred(photo, STRETCHED * photo.width, photo.height)
    stretched = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)
    stretched.save(out / f"{file.stem}.png", compress_level=1)


def main() -> None:
    """Frame all photos."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    val, train = given.out / "val", given.out / "train"
    for folder in (val, train / "celeba", train / "utkface", train / "stretched"):
        folder.mkdir(parents=True)
    for name in ("celeba", "utkface"):
        files = sorted((given.faces / name).iterdir())
        held_out = set(random.Random(0).sample(files, HELD_OUT))
        for file in files:
            if file in held_out:
                shutil.copy(file, val / f"{name}-{file.name}")
            elif name == "celeba" or random.Random(file.name).random() <= SHARE:
                shutil.copy(file, train / name / file.name)
                if name == "celeba":
                    stretch(file, train / "stretched")


if __name__ == "__main__":
    main()
