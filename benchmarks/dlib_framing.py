"""How faces are best framed for dlib's network: AUC on pairs of LFW, without and with a loss.

    python benchmarks/dlib_framing.py LFW [--people 150] [--sides 64 96] [--json FILE]

Two photos of each person, drawn by seed; the largest face that MTCNN finds in a photo, its box
widened by `srkit.faces.align.MARGIN`, as `srkit bench --verify` frames faces. The first photo is
the gallery; the second is the probe, as it is and downscaled to a quarter and upscaled by bicubic.
Same pairs are a person's two photos, different ones all gallery photos with all other people's
probes.

- ``share``, ``down``: the middle of the crop, ``share`` of its side, moved down by ``down`` of
  its side, brought to 150x150. Share 1 is the whole crop.
- ``landmarks``: dlib's own chip, by its 5-point predictor within a fixed box of the crop. No face
  is searched for; but the landmarks are those of each image, the reconstruction's as well.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import dlib
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from srkit_dlib import embedder
from srkit_dlib.embedder import SIDE, Dlib
from torch import Tensor
from torch.nn.functional import interpolate

from srkit import registry
from srkit.faces import align as faces
from srkit.imaging import codec

# Side of the part, and how far down its middle lies, in sides of the crop. The last brings the mean
# places of MTCNN's landmarks in the crops onto those of dlib's chips.
PARTS = ((1.0, 0.0), (0.85, 0.0), (0.72, 0.0), (0.72, 0.046))
# Where the predictor is told that the face is, likewise: the median of dlib's own HOG detector on
# such crops, what brings its mean shape onto MTCNN's mean landmarks, and MTCNN's box.
BOXES = ((0.61, 0.04), (0.7, 0.0), (0.74, 0.0))


def pairs(root: Path, people: int, side: int) -> tuple[Tensor, Tensor]:
    """Return gallery and probe of so many people, ``N3HW`` each."""
    rng, detector = random.Random(0), faces.detector()
    everybody = registry.build("face_sets", "folders", root=root)
    its = [person for person in everybody if len(person.photos) > 1]
    both: list[tuple[Tensor, Tensor]] = []
    for person in rng.sample(its, len(its)):
        crops = []
        for photo in rng.sample(person.photos, 2):
            image = codec.read(photo).rgb
            if found := detector.faces(image):
                crops.append(codec.to_tensor(faces.crop(image, found[0], side)))
        if len(crops) == 2:
            both.append((crops[0], crops[1]))
        if len(both) == people:
            break
    gallery, probes = zip(*both, strict=True)
    return torch.cat(gallery), torch.cat(probes)


def bicubic(probes: Tensor) -> Tensor:
    """Downscale to a quarter as `srkit bench` does, and upscale by bicubic."""
    degrade = registry.build_scaled("degradations", "faces-x4", 4, {})
    lr = degrade(probes, seeds=torch.arange(len(probes)))
    lr = codec.to_uint8(lr).float() / 255
    return codec.to_uint8(codec.bicubic(lr, 4)).float() / 255


def framed(images: Tensor, share: float, down: float) -> Tensor:
    """Return a part of each image, scaled to 150x150; it stays within the image."""
    whole = round(SIDE / share)
    images = interpolate(images, size=(whole, whole), mode="bilinear", antialias=True)
    left = (whole - SIDE) // 2
    top = min(max(left + round(whole * down), 0), whole - SIDE)
    return images[..., top : top + SIDE, left : left + SIDE]


def ways(network: Dlib) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Name every way of framing, and what embeds faces framed so."""
    for side, down in BOXES:

        def by_landmarks(faces: Tensor, side: float = side, down: float = down) -> Tensor:
            box = embedder.box(side, down)
            return network.embed([network.chip(each, box) for each in embedder.pixels(faces)])

        yield f"landmarks within {side:g}, down {down:g}", by_landmarks
    for share, down in PARTS:

        def part(faces: Tensor, share: float = share, down: float = down) -> Tensor:
            return network.embed(embedder.pixels(framed(faces, share, down)))

        yield f"share {share:g}, down {down:g}", part


def auc(gallery: Tensor, probes: Tensor) -> float:
    """Return the area under the ROC curve of all pairs."""
    distances = torch.cdist(gallery, probes).numpy()
    return float(roc_auc_score(np.eye(len(gallery)).ravel(), -distances.ravel()))


def measured(network: Dlib, root: Path, people: int, side: int) -> list[dict[str, object]]:
    """Return the AUC of every way of framing, for crops of one size."""
    gallery, probes = pairs(root, people, side)
    lost = bicubic(probes)
    rows: list[dict[str, object]] = []
    for name, embed in ways(network):
        base = embed(gallery)
        hr, lr = round(auc(base, embed(probes)), 4), round(auc(base, embed(lost)), 4)
        rows.append({"framing": name, "hr": hr, "bicubic": lr})
        print(f"{side} {name:30} HR {hr:.4f}  bicubic {lr:.4f}", flush=True)
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("lfw", type=Path)
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 96])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    network = Dlib()
    auc_of = {str(side): measured(network, given.lfw, given.people, side) for side in given.sides}
    if given.json:
        about = {"people": given.people, "weights": network.name, "sha256": network.sha256}
        about |= {"dlib": dlib.__version__}
        given.json.write_text(json.dumps({**about, "auc": auc_of}, indent=1) + "\n")


if __name__ == "__main__":
    main()
