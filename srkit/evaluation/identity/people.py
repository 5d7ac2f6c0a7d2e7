"""People in an order that doesn't depend on how they are listed, and the stamp of a comparison."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srkit.errors import InputError
from srkit.evaluation.identity.probes import ALIGNED
from srkit.evaluation.protocol import Protocol, encoded
from srkit.hookspecs import Person


def natural(name: str) -> tuple[Any, ...]:
    """Return what to sort names by so that 2 comes before 10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)  # text and numbers in turn
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def by_name(people: Iterable[Person]) -> list[Person]:
    """Return people in the order of their names, and the photos of each likewise.

    Who is listed twice is one person: a pair of the two would not be a pair of strangers.
    """
    photos: dict[str, set[Path]] = {}
    for person in people:
        photos.setdefault(person.name, set()).update(person.photos)
    return [
        Person(name, tuple(sorted(photos[name], key=lambda p: (natural(p.name), str(p)))))
        for name in sorted(photos, key=natural)
    ]


def draw(people: Sequence[Person], count: int, photos: int, seed: int) -> list[Person]:
    """Return people with photos, both drawn at random by seed.

    Only people with as many photos are drawn; where they are too few, those with two or more. The
    order in which people and photos are listed makes no difference: both are sorted first.

    Args:
        people: From a face set.
        count: How many; all there are if more.
        photos: Of each: a base, and probes.
        seed: Of the draw.

    Raises:
        InputError: Nobody has two photos.
    """
    named = by_name(people)
    able = [person for person in named if len(person.photos) >= photos]
    if len(able) < count:
        able = [person for person in named if len(person.photos) > 1]
    if not able:
        raise InputError(f"nobody has two photos ({len(named)} people): nothing to compare")
    rng = random.Random(seed)
    chosen = rng.sample(able, min(count, len(able)))
    return [
        Person(person.name, tuple(rng.sample(person.photos, min(photos, len(person.photos)))))
        for person in sorted(chosen, key=lambda person: natural(person.name))
    ]


def stamp(
    protocol: Protocol,
    embedder: Any,
    align: str,
    roles: Sequence[tuple[str, Sequence[Path]]],
) -> dict[str, Any]:
    """Return the protocol's stamp and what comes with faces.

    Args:
        protocol: By which faces are degraded.
        embedder: Who judges.
        align: A key of `ALIGNED`.
        roles: People and the photos used of each, the base or the gallery's first.
    """
    lines = sorted("\0".join([name, *(photo.name for photo in its)]) for name, its in roles)
    made = protocol.stamp([photo for _, its in roles for photo in its])
    finder = {"facenet-pytorch": version("facenet-pytorch")}  # whose MTCNN frames the faces
    return {
        **made,
        "versions": {**made["versions"], **finder},
        "embedder": embedder.name,
        "embedder_sha256": embedder.sha256,
        "distance": "L2 between unit embeddings",
        "align": align,
        "alignment": ALIGNED[align],
        # The same files with other names on them are other pairs.
        "roles": hashlib.sha256(encoded("\n".join(lines))).hexdigest()[:16],
    }
