"""Does the face stay the same person's? Distances of embeddings, as in Table II (P17, P18).

Of each person the first photo drawn is the base; the others are degraded and enlarged; what
counts is the L2 distance between the embeddings of the base and of the result. HR, the same
photos without degradation, is the ceiling that no model can be asked to beat.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srkit import faces, images
from srkit.bench.protocol import Protocol
from srkit.bench.quality import enlargers
from srkit.bench.statistics import interval
from srkit.errors import InputError
from srkit.hookspecs import Person
from srkit.upscale import Model

HR = "HR"
PHOTOS = 3  # a base and two probes, as in section IV-B


@dataclass(frozen=True)
class Row:
    """One probe: a person, a photo, its base, and the distance in every column."""

    person: str
    base: str
    photo: str
    distances: dict[str, float]


@dataclass(frozen=True)
class Identity:
    """Distances of every probe.

    Attributes:
        protocol: The stamp of `Protocol.stamp`, the embedder and the draw.
        columns: ``bicubic``, each model, ``HR``.
        rows: One a probe.
        no_face: Photos in which no face was found, as ``person/photo``.
        left_out: People whose base has no face, or who have no probe with one.
    """

    protocol: dict[str, Any]
    columns: list[str]
    rows: list[Row]
    no_face: list[str]
    left_out: list[str]

    def mean(self, column: str) -> float:
        """Return a column's mean distance."""
        return sum(row.distances[column] for row in self.rows) / len(self.rows)

    def interval(self, column: str) -> tuple[float, float]:
        """Return the 95% interval of the mean, people drawn anew (bootstrap)."""
        people = [row.person for row in self.rows]
        return interval([row.distances[column] for row in self.rows], people)

    def as_json(self) -> dict[str, Any]:
        """Return everything for a file."""
        return {
            "protocol": self.protocol,
            "columns": {
                column: {"mean": self.mean(column), "mean_95": self.interval(column)}
                for column in self.columns
            },
            "rows": [vars(row) for row in self.rows],
            "no_face": self.no_face,
            "left_out": self.left_out,
        }


def draw(people: Sequence[Person], count: int, seed: int) -> list[Person]:
    """Return people with `PHOTOS` photos each, both drawn at random by seed.

    Args:
        people: From a face set.
        count: How many; 0 for all.
        seed: Of the draw.
    """
    rng = random.Random(seed)
    chosen = list(people)
    if 0 < count < len(chosen):
        chosen = sorted(rng.sample(chosen, count), key=lambda person: person.name)
    return [
        Person(person.name, tuple(rng.sample(person.photos, min(PHOTOS, len(person.photos)))))
        for person in chosen
    ]


def _found(
    people: Sequence[Person], size: int
) -> tuple[list[tuple[Person, list[tuple[Path, Tensor]]]], list[str]]:
    """Crop every photo's largest face; return people with their faces, and photos without."""
    detector = faces.Detector()
    found: list[tuple[Person, list[tuple[Path, Tensor]]]] = []
    no_face: list[str] = []
    for person in people:
        its: list[tuple[Path, Tensor]] = []
        for photo in person.photos:
            image = images.read(photo).rgb
            if boxes := detector.faces(image):
                its.append((photo, images.to_tensor(faces.crop(image, boxes[0], size))))
            else:
                no_face.append(f"{person.name}/{photo.name}")
        found.append((person, its))
    return found, no_face


@torch.inference_mode()
def verify(
    models: Sequence[Model], people: Sequence[Person], embedder: Any, protocol: Protocol
) -> Identity:
    """Measure the distances of Table II.

    Args:
        models: What to compare; bicubic and HR come by themselves.
        people: From `draw`.
        embedder: A registered embedder, built.
        protocol: Size, scale, degradation, seed; faces are framed by MTCNN.

    Raises:
        InputError: Nobody has a base and a probe with a face in them.
    """
    found, no_face = _found(people, protocol.size)
    # Without a face in the base, another photo must not quietly take its place.
    usable = [
        (person, its) for person, its in found if len(its) > 1 and its[0][0] == person.photos[0]
    ]
    names = {person.name for person, _ in usable}
    left_out = [person.name for person, _ in found if person.name not in names]
    if not usable:
        raise InputError(
            f"no person has a base and another photo with a face ({len(people)} people, "
            f"{len(no_face)} photos without a face)"
        )
    bases = embedder(torch.cat([its[0][1] for _, its in usable]))
    hr = torch.cat([face for _, its in usable for _, face in its[1:]])
    base_of = [i for i, (_, its) in enumerate(usable) for _ in its[1:]]
    lr = protocol.degrade(hr)
    distances: dict[str, list[float]] = {}
    for column, enlarge in enlargers(models, protocol.scale).items():
        # Rounded to 8 bits: what is verified is what a file would hold.
        sr = images.to_uint8(enlarge(lr)).float() / 255
        distances[column] = (embedder(sr) - bases[base_of]).norm(dim=1).tolist()
    distances[HR] = (embedder(hr) - bases[base_of]).norm(dim=1).tolist()
    probes = [(person, its, photo) for person, its in usable for photo, _ in its[1:]]
    rows = [
        Row(person.name, its[0][0].name, photo.name, {c: distances[c][i] for c in distances})
        for i, (person, its, photo) in enumerate(probes)
    ]
    stamp = protocol.stamp([photo for person in people for photo in person.photos])
    stamp |= {
        "embedder": embedder.name,
        "embedder_sha256": embedder.sha256,
        "distance": "L2 between unit embeddings",
        "alignment": f"largest MTCNN box of the HR photo, square, widened by {faces.MARGIN}",
        "people": len(people),
    }
    return Identity(stamp, list(distances), rows, no_face, left_out)
