"""Identity distances: whether a face stays the same person's, as in Table II (P17, P18).

The first photo of each person is the base; the others are degraded and upscaled; what counts is
the L2 distance between the embeddings of the base and of the result. HR, the same photos without
degradation, is the ceiling that no model can be asked to beat; LR, the small image itself, is the
floor. A method that makes all faces alike shortens distances to strangers, too: the AUC sets the
one against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from srkit.errors import InputError
from srkit.evaluation.identity.embed import DECIMALS, Verifier
from srkit.evaluation.identity.faces import Finder, Located
from srkit.evaluation.identity.people import Roles
from srkit.evaluation.identity.roc import DRAWS, Matching, between
from srkit.evaluation.report import Distances, Row
from srkit.evaluation.statistics import Array, Estimate, weights
from srkit.hookspecs import Person

Base = Literal["first", "drawn"]

BASES = {
    "first": "of everybody with two photos or more, the first one in order",
    "drawn": "the first photo drawn of each person drawn",
}


def distances(verifier: Verifier, people: Sequence[Person], *, base: Base = "first") -> Distances:
    """Measure the distances of Table II, of everybody or of those of `draw`.

    Raises:
        InputError: Nobody has a base and a probe with a face in them.
    """
    usable = Usable(people, verifier.finder)
    bases = verifier.gallery([faces[0] for _, faces in usable.people], "bases")
    owner = [index for index, (_, faces) in enumerate(usable.people) for _ in faces[1:]]
    notes: list[str] = []
    by_method: dict[str, Array] = {}
    auc: dict[str, Estimate] = {}
    draws = weights(len(bases), DRAWS, verifier.protocol.seed)
    for name, embedded in verifier.embedded(usable.probes, verifier.protocol.size, notes):
        by_method[name] = np.linalg.norm(embedded.astype(np.float64) - bases[owner], axis=1)
        if len(bases) > 1:
            figures = Matching(between(embedded, bases), owner).figures(draws, ())["auc"]
            auc[name] = Estimate.of(float(figures[0]), figures[1:])
    rows = []
    for index, (person, probe) in enumerate(zip(owner, usable.probes, strict=True)):
        name, (base_photo, *_) = usable.people[person]
        values = {m: round(float(column[index]), DECIMALS) for m, column in by_method.items()}
        rows.append(Row(name, base_photo.photo.name, probe.photo.name, values))
    return Distances(
        protocol={**verifier.stamp(usable.roles), "base": BASES[base]},
        rows=rows,
        auc=auc,
        no_face=usable.no_face,
        left_out=usable.left_out,
        people=len(usable.people),
        notes=notes,
    )


class Usable:
    """People with a base and a probe, and what is missing from the others."""

    def __init__(self, people: Sequence[Person], finder: Finder) -> None:
        located = iter(finder.find([photo for person in people for photo in person.photos]))
        self.people: list[tuple[str, list[Located]]] = []
        self.no_face: list[str] = []
        self.left_out: list[str] = []
        self.roles: Roles = []  # photos that could be read, the base first
        for person in people:
            photos = [next(located) for _ in person.photos]
            self.roles.append((person.name, [one.photo for one in photos if not one.reason]))
            faces = [one for one in photos if one.box]
            self.no_face += [one.label(person.name) for one in photos if not one.box]
            if len(photos) < 2:
                reason = "one photo" if photos else "no photo"
            elif not photos[0].box:  # another photo must not quietly take its place
                reason = f"no face in the base, {photos[0].photo.name}"
            elif len(faces) < 2:
                reason = "no face in any other photo"
            else:
                self.people.append((person.name, faces))
                continue
            self.left_out.append(f"{person.name} ({reason})")
        self.probes = [one for _, faces in self.people for one in faces[1:]]
        if not self.people:
            raise InputError(
                f"no person has a base and another photo with a face ({len(people)} people, "
                f"{len(self.no_face)} photos without a face)"
            )
