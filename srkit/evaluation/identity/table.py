"""Does the face stay the same person's? Distances of embeddings, as in Table II (P17, P18).

Of each person the first photo is the base; the others are degraded and enlarged; what counts is
the L2 distance between the embeddings of the base and of the result. HR, the same photos without
degradation, is the ceiling that no model can be asked to beat; LR, the small picture given to the
embedder as it is, is the floor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srkit.errors import InputError
from srkit.evaluation.columns import BICUBIC, HR, LR, Column
from srkit.evaluation.identity.estimate import Array, Estimate, share, weights
from srkit.evaluation.identity.found import Finder, Located
from srkit.evaluation.identity.people import stamp
from srkit.evaluation.identity.probes import DECIMALS, Reconstruction, degraded, pixels
from srkit.evaluation.measuring import BATCH, Progress, ignore
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.statistics import DRAWS, interval, mean
from srkit.evaluation.store import Store
from srkit.hookspecs import Person

Base = Literal["first", "drawn"]

BASES = {
    "first": "of everybody with two photos or more, the first one in order",
    "drawn": "the first photo drawn of each person drawn",
}


@dataclass(frozen=True)
class Row:
    """One probe: a person, a photo, its base, and the distance in every column."""

    person: str
    base: str
    photo: str
    distances: dict[str, float]


@dataclass(frozen=True)
class Distances:
    """Distances of every probe.

    Attributes:
        protocol: The stamp of `Protocol.stamp`, the embedder, the alignment and the bases.
        columns: ``LR``, ``bicubic``, each model, ``HR``.
        rows: One a probe, in the order of people and photos.
        no_face: Photos in which no face was found, as ``person/photo``; with the reason, where
            they couldn't be read.
        left_out: People without a base or a probe with a face, and which of the two.
        people: How many have rows.
        notes: What else a reader must know.
    """

    protocol: dict[str, Any]
    columns: list[str]
    rows: list[Row]
    no_face: list[str]
    left_out: list[str]
    people: int
    notes: list[str] = field(default_factory=list)

    def mean(self, column: str) -> float:
        """Return a column's mean distance."""
        return mean([row.distances[column] for row in self.rows])

    def interval(self, column: str) -> tuple[float, float]:
        """Return the 95% interval of the mean, people drawn anew (bootstrap)."""
        people = [row.person for row in self.rows]
        return interval([row.distances[column] for row in self.rows], people)

    def ratio(self, column: str, to: str = BICUBIC) -> float:
        """Return a column's mean as a multiple of another's; NaN of a mean of 0."""
        other = self.mean(to)
        return self.mean(column) / other if other else float("nan")

    def closed(self, column: str) -> Estimate:
        """Return the share of the gap from LR to HR that a column closes.

        1 is as near as HR, 0 as far as LR; both ends can be passed. The interval is of the ratio
        of means, people drawn anew.
        """
        # In an order of their own, so that a draw is of the same people however they are listed.
        names = {name: place for place, name in enumerate(sorted({r.person for r in self.rows}))}
        owner = [names[row.person] for row in self.rows]

        def sums(column: str) -> Array:
            values = [row.distances[column] for row in self.rows]
            return np.bincount(owner, values, len(names)).astype(np.float64)

        drawn = weights(len(names), DRAWS, 0)
        once = np.ones((1, len(names)))
        # Means of the same rows: their number cancels out.
        of_draws, whole = (
            share(w @ sums(column), w @ sums(LR), w @ sums(HR)) for w in (drawn, once)
        )
        return Estimate.of(float(whole[0]), of_draws)

    def as_json(self) -> dict[str, Any]:
        """Return everything for a file, and for whoever reads that, the figures under the table."""
        return {
            **vars(self),
            "rows": [vars(row) for row in self.rows],
            "summary": {
                column: {
                    "mean": self.mean(column),
                    "mean_95": self.interval(column),
                    "closed": vars(self.closed(column)),
                }
                for column in self.columns
            },
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Distances:
        """Return the distances that `as_json` gave these values of."""
        values = {key: value for key, value in found.items() if key != "summary"}
        return cls(**{**values, "rows": [Row(**row) for row in found["rows"]]})


def distances(
    columns: Sequence[Column],
    people: Sequence[Person],
    embedder: Any,
    protocol: Protocol,
    *,
    store: Store,
    align: str = "hr",
    base: Base = "first",
    workers: int | None = None,
    batch_size: int = BATCH,
    progress: Progress = ignore,
) -> Distances:
    """Measure the distances of Table II.

    Args:
        columns: What to compare; LR and HR come by themselves.
        people: Everybody, or those of `draw`.
        embedder: A registered embedder, built.
        protocol: Size, scale, degradation, seed; faces are framed by MTCNN.
        store: Keeps embeddings and boxes.
        align: ``hr`` or ``sr``; see `srkit.evaluation.identity.probes.ALIGNED`.
        base: What the first photo of each person is, for the stamp.
        workers: Threads that decode photos.
        batch_size: Pictures enlarged, and embedded, at a time.
        progress: Told what is done, how much, and of how much.

    Raises:
        InputError: Nobody has a base and a probe with a face in them, or ``align`` isn't known.
    """
    reconstruction = Reconstruction(
        columns,
        embedder,
        protocol,
        store=store,
        align=align,
        workers=workers,
        batch_size=batch_size,
        progress=progress,
    )
    finder, embeddings = reconstruction.finder, reconstruction.embeddings
    found = _Found(people, finder)
    size = protocol.size
    bases = embeddings(finder.crops([its[0] for _, its in found.usable], size), "bases")
    owner = [place for place, (_, its) in enumerate(found.usable) for _ in its[1:]]
    measured: dict[str, list[float]] = {}
    for name, embedded in reconstruction.of(found.probes, size):
        measured[name] = _apart(embedded, bases[owner])
    probes = [(person, its[0].photo, one.photo) for person, its in found.usable for one in its[1:]]
    rows = [
        Row(person, first.name, photo.name, {c: measured[c][place] for c in measured})
        for place, (person, first, photo) in enumerate(probes)
    ]
    said = stamp(protocol, embedder, align, found.roles)
    said["base"] = BASES[base]
    return Distances(
        said,
        list(measured),
        rows,
        found.no_face,
        found.left_out,
        len(found.usable),
        reconstruction.notes,
    )


def lr_of_distances(
    people: Sequence[Person],
    protocol: Protocol,
    *,
    store: Store,
    base: Base = "first",
    workers: int | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the LR pictures that `distances` would have enlarged, uint8, ``hw3``.

    Raises:
        InputError: See `distances`.
    """
    finder = Finder(store, workers)
    probes = _Found(people, finder).probes
    yield from pixels(degraded(finder.crops(probes, protocol.size), protocol))


class _Found:
    """People with a base and a probe, and what is lacking of the others."""

    def __init__(self, people: Sequence[Person], finder: Finder) -> None:
        photos = [photo for person in people for photo in person.photos]
        located = iter(finder.find(photos))
        self.usable: list[tuple[str, list[Located]]] = []
        self.no_face: list[str] = []
        self.left_out: list[str] = []
        self.roles: list[tuple[str, list[Path]]] = []  # photos that could be read, the base first
        for person in people:
            its = [next(located) for _ in person.photos]
            self.roles.append((person.name, [one.photo for one in its if not one.why]))
            faces = [one for one in its if one.box]
            self.no_face += [one.said(person.name) for one in its if not one.box]
            if why := _lacking(its, len(faces)):
                self.left_out.append(f"{person.name} ({why})")
            else:
                self.usable.append((person.name, faces))
        self.probes = [one for _, its in self.usable for one in its[1:]]
        if not self.usable:
            raise InputError(
                f"no person has a base and another photo with a face ({len(people)} people, "
                f"{len(self.no_face)} photos without a face)"
            )


def _lacking(photos: Sequence[Located], faces: int) -> str:
    """Return why a person is left out, or nothing."""
    if len(photos) < 2:
        return "one photo" if photos else "no photo"
    if not photos[0].box:
        # Another photo must not quietly take its place.
        return f"no face in the base, {photos[0].photo.name}"
    return "no face in any other photo" if faces < 2 else ""


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    between = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return [round(float(distance), DECIMALS) for distance in between]
