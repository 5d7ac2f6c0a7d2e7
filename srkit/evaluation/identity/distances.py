"""Does the face stay the same person's? Distances of embeddings, as in Table II (P17, P18).

The first photo of each person is the base; the others are degraded and upscaled; what counts is
the L2 distance between the embeddings of the base and of the result. HR, the same photos without
degradation, is the ceiling that no model can be asked to beat; LR, the small image given to the
embedder as it is, is the floor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srkit.errors import InputError
from srkit.evaluation.identity.embed import DECIMALS, Verifier, lr_probes
from srkit.evaluation.identity.faces import Finder, Located
from srkit.evaluation.identity.people import Roles
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Distances, Row
from srkit.hookspecs import Person

Base = Literal["first", "drawn"]

BASES = {
    "first": "of everybody with two photos or more, the first one in order",
    "drawn": "the first photo drawn of each person drawn",
}


def distances(verifier: Verifier, people: Sequence[Person], *, base: Base = "first") -> Distances:
    """Measure the distances of Table II.

    Args:
        verifier: What is compared, and how.
        people: Everybody, or those of `draw`.
        base: What the first photo of each person is, for the stamp.

    Raises:
        InputError: Nobody has a base and a probe with a face in them.
    """
    found = _Usable(people, verifier.finder)
    bases = verifier.gallery([faces[0] for _, faces in found.people], "bases")
    owner = [place for place, (_, faces) in enumerate(found.people) for _ in faces[1:]]
    notes: list[str] = []
    columns = {
        name: _distances(embedded, bases[owner])
        for name, embedded in verifier.columns(found.probes, verifier.protocol.size, notes)
    }
    rows = []
    for place, (who, probe) in enumerate(zip(owner, found.probes, strict=True)):
        person, (base_photo, *_) = found.people[who]
        each = {name: values[place] for name, values in columns.items()}
        rows.append(Row(person, base_photo.photo.name, probe.photo.name, each))
    return Distances(
        protocol={**verifier.stamp(found.roles), "base": BASES[base]},
        columns=list(columns),
        rows=rows,
        no_face=found.no_face,
        left_out=found.left_out,
        people=len(found.people),
        notes=notes,
    )


def lr_of_distances(
    people: Sequence[Person], protocol: Protocol, finder: Finder
) -> Iterator[NDArray[np.uint8]]:
    """Yield the LR images that `distances` would have upscaled, uint8, ``hw3``."""
    yield from lr_probes(finder, _Usable(people, finder).probes, protocol.size, protocol)


class _Usable:
    """People with a base and a probe, and what is lacking of the others."""

    def __init__(self, people: Sequence[Person], finder: Finder) -> None:
        located = iter(finder.find([photo for person in people for photo in person.photos]))
        self.people: list[tuple[str, list[Located]]] = []
        self.no_face: list[str] = []
        self.left_out: list[str] = []
        self.roles: Roles = []  # photos that could be read, the base first
        for person in people:
            photos = [next(located) for _ in person.photos]
            self.roles.append((person.name, [one.photo for one in photos if not one.why]))
            faces = [one for one in photos if one.box]
            self.no_face += [one.label(person.name) for one in photos if not one.box]
            if why := _lacking(photos, len(faces)):
                self.left_out.append(f"{person.name} ({why})")
            else:
                self.people.append((person.name, faces))
        self.probes = [one for _, faces in self.people for one in faces[1:]]
        if not self.people:
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


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    between = np.linalg.norm(a.astype(np.float64) - b, axis=1)
    return [round(float(distance), DECIMALS) for distance in between]
