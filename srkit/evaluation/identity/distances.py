"""Identity distances: whether a face stays the same person's, as in Table II (P17, P18).

The first photo of each person is the base; the others are degraded and upscaled; what counts is
the L2 distance between the embeddings of the base and of the result. HR, the same photos without
degradation, is the ceiling that no model can be asked to beat; LR, the small image itself, is the
floor. A method that makes all faces alike shortens distances to strangers, too: the AUC sets the
one against the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srkit.errors import InputError
from srkit.evaluation.identity.embed import DECIMALS, Verifier
from srkit.evaluation.identity.faces import Finder
from srkit.evaluation.identity.people import Drawn, Roles
from srkit.evaluation.identity.roc import DRAWS, Matching, between
from srkit.evaluation.report import Distances, Row
from srkit.evaluation.statistics import Array, Estimate, weights
from srkit.hookspecs import Person

BASES = {
    "first": "of everybody with two photos or more, the first one in order",
    "drawn": "the first photo drawn of each person drawn",
}


def distances(verifier: Verifier, people: Sequence[Person], *, base: str = "first") -> Distances:
    """Measure the distances of Table II, of everybody or of those of `draw`; see `BASES`.

    Raises:
        InputError: Nobody has a base and a probe with a face in them.
    """
    usable, roles = with_bases(people, verifier.finder)
    bases = verifier.gallery(usable.gallery, "bases")
    notes: list[str] = []
    by_method: dict[str, Array] = {}
    auc: dict[str, Estimate] = {}
    draws = weights(len(bases), DRAWS, verifier.protocol.seed)
    for name, embedded in verifier.embedded(usable.probes, verifier.protocol.size, notes):
        apart = embedded.astype(np.float64) - bases[usable.owner]
        by_method[name] = np.linalg.norm(apart, axis=1)
        if len(bases) > 1:
            figures = Matching(between(embedded, bases), usable.owner).figures(draws, ())["auc"]
            auc[name] = Estimate.of(float(figures[0]), figures[1:])
    rows = []
    for index, (person, probe) in enumerate(zip(usable.owner, usable.probes, strict=True)):
        values = {m: round(float(column[index]), DECIMALS) for m, column in by_method.items()}
        base_photo = usable.gallery[person].photo.name
        rows.append(Row(usable.people[person], base_photo, probe.photo.name, values))
    return Distances(
        protocol={**verifier.stamp(roles), "base": BASES[base]},
        rows=rows,
        auc=auc,
        no_face=usable.no_face,
        left_out=usable.left_out,
        people=len(usable.people),
        notes=notes,
    )


def with_bases(people: Sequence[Person], finder: Finder) -> tuple[Drawn, Roles]:
    """Return everybody's base and probes, and everybody's photos that could be read, base first.

    Raises:
        InputError: Nobody has both.
    """
    located = iter(finder.find([photo for person in people for photo in person.photos]))
    usable, roles = Drawn([], [], [], [], [], []), Roles()
    for person in people:
        photos = [next(located) for _ in person.photos]
        roles.append((person.name, [one.photo for one in photos if not one.reason]))
        usable.no_face.extend(one.label(person.name) for one in photos if not one.box)
        faces = [one for one in photos if one.box]
        if len(photos) < 2:
            reason = "one photo" if photos else "no photo"
        elif not photos[0].box:  # another photo must not quietly take its place
            reason = f"no face in the base, {photos[0].photo.name}"
        elif len(faces) < 2:
            reason = "no face in any other photo"
        else:
            usable.owner.extend([len(usable.people)] * (len(faces) - 1))
            usable.people.append(person.name)
            usable.gallery.append(faces[0])
            usable.probes.extend(faces[1:])
            continue
        usable.left_out.append(f"{person.name} ({reason})")
    if not usable.people:
        raise InputError(
            f"no person has a base and another photo with a face ({len(people)} people, "
            f"{len(usable.no_face)} photos without a face)"
        )
    return usable, roles
