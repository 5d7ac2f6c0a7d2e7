"""The people compared: in an order that doesn't depend on how they are listed, and draws."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from srkit.errors import InputError, first_of, option
from srkit.evaluation.identity.faces import Finder, Located
from srkit.evaluation.protocol import encoded
from srkit.hookspecs import Person
from srkit.imaging import codec
from srkit.readahead import read_ahead

SIDE = 16  # pixels of a thumbnail
# Levels of 255 by which no pixel of two thumbnails differs more if they are of one photo. Copies of
# JPEG or WebP quality 30 to 60, and of half to twice the size, differ by 1 to 3; photos of one
# sitting, the nearest that differ, by 7 and more (IMM Frontal). Photos below 50 pixels are nearly
# thumbnails themselves: from 32 on nearly all copies of quality 75 and up are known, from 24 of 90.
ALIKE = 5

Roles = list[tuple[str, list[Path]]]  # a person's photos, the base or the gallery's first


def _natural(name: str) -> tuple[Any, ...]:
    """Return what to sort names by so that 2 comes before 10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)  # text and numbers in turn
    return tuple(int(part) if n % 2 else part for n, part in enumerate(parts)), name


def by_name(people: Iterable[Person]) -> list[Person]:
    """Return people in the order of their names, and the photos of each likewise.

    A name listed twice is one person: a pair of the two would not be a pair of strangers.
    """
    photos: dict[str, set[Path]] = {}
    for person in people:
        photos.setdefault(person.name, set()).update(person.photos)
    return [
        Person(name, tuple(sorted(photos[name], key=lambda p: (_natural(p.name), str(p)))))
        for name in sorted(photos, key=_natural)
    ]


def without_copies(people: Iterable[Person]) -> tuple[list[Person], list[str]]:
    """Leave out copies, encoded or resized anew or not: their pairs would be at distance 0.

    Of copies among one person's photos the first stays. A photo that several people have is
    left out: nothing says whose it is.

    Returns:
        The people, and a warning, if photos were left out, that names them.
    """
    named = by_name(people)
    photos = [(person.name, photo) for person in named for photo in person.photos]
    small = list(read_ahead(_thumbnail, [photo for _, photo in photos]))
    shown = [photo for photo, pixels in zip(photos, small, strict=True) if pixels is not None]
    copies = set[tuple[str, Path]]()
    for group in _alike([pixels for pixels in small if pixels is not None]):
        held = [shown[place] for place in group]
        copies.update(held[1:] if len({name for name, _ in held}) == 1 else held)
    kept = [
        Person(p.name, tuple(photo for photo in p.photos if (p.name, photo) not in copies))
        for p in named
    ]
    names = [f"{name}/{photo.name}" for name, photo in copies]
    text = f"photos left out, which are copies of others: {len(names)} ({first_of(names)})"
    return kept, [text] if copies else []


def _thumbnail(photo: Path) -> np.ndarray | None:
    """Return a photo in grey and small; None where it shows nothing, or can't be read."""
    try:
        small = codec.thumbnail(photo, SIDE).ravel()
    except InputError:  # who measures it says why
        return None
    return small if np.ptp(small) > 2 * ALIKE else None


def _alike(thumbnails: Sequence[np.ndarray]) -> Iterable[list[int]]:
    """Return the groups of places of thumbnails that are alike, each in order."""
    if not thumbnails:
        return []
    from scipy.cluster.hierarchy import DisjointSet
    from scipy.spatial import KDTree

    pixels = np.stack(thumbnails).astype(np.int16)
    means = pixels.reshape(-1, 4, SIDE // 4, 4, SIDE // 4).mean(axis=(2, 4)).reshape(-1, 16)
    groups = DisjointSet(range(len(pixels)))
    # What is alike has means that are alike.
    for one, other in KDTree(means).query_pairs(ALIKE, p=np.inf):
        if np.abs(pixels[one] - pixels[other]).max() <= ALIKE:
            groups.merge(one, other)
    return map(sorted, groups.subsets())


def draw(people: Sequence[Person], count: int, photos: int, seed: int) -> list[Person]:
    """Return people with photos, both drawn at random by seed.

    Only people with as many photos are drawn; where they are too few, those with two or more. The
    order in which people and photos are listed makes no difference: both are sorted first.

    Raises:
        InputError: No person has two photos.
    """
    named = by_name(people)
    able = [person for person in named if len(person.photos) >= photos]
    if len(able) < count:
        able = [person for person in named if len(person.photos) > 1]
    if not able:
        raise InputError(
            f"no person has two photos ({len(named)} people): nothing to verify; their quality and "
            f"landmarks are measured by {option('data')} with the metric landmark-error"
        )
    rng = random.Random(seed)
    chosen = rng.sample(able, min(count, len(able)))
    return [
        Person(person.name, tuple(rng.sample(person.photos, min(photos, len(person.photos)))))
        for person in sorted(chosen, key=lambda person: _natural(person.name))
    ]


@dataclass(frozen=True)
class Drawn:
    """Same pairs: a gallery photo of each person, and probes.

    Attributes:
        people: Names, in the order of the draw.
        gallery: A photo of each.
        probes: In the order of the draw: all people's first ones, then second ones.
        owner: The index of each probe's person.
        no_face: Photos that were searched and have no face, as ``person/photo``.
        left_out: People who can make no pair, and why.
    """

    people: list[str]
    gallery: list[Located]
    probes: list[Located]
    owner: list[int]
    no_face: list[str]
    left_out: list[str]

    def first(self, pairs: int) -> Drawn:
        """Return the first ``pairs`` pairs, with the gallery of their people alone."""
        people, owner = np.unique(self.owner[:pairs], return_inverse=True)
        return replace(
            self,
            people=[self.people[number] for number in people],
            gallery=[self.gallery[number] for number in people],
            probes=self.probes[:pairs],
            owner=owner.tolist(),
        )

    @property
    def roles(self) -> Roles:
        """Every person's photos, the gallery's first."""
        roles = [(name, [one.photo]) for name, one in zip(self.people, self.gallery, strict=True)]
        for owner, probe in zip(self.owner, self.probes, strict=True):
            roles[owner][1].append(probe.photo)
        return roles


def draw_pairs(people: Sequence[Person], count: int, seed: int, finder: Finder) -> Drawn:
    """Draw same pairs by seed.

    People are shuffled, and so are the photos of each. A person's first photo with a face stands
    in the gallery, the second is a probe. Only when everybody has had a turn and pairs are still
    missing, there is a second probe of each, and so on: no person with hundreds of photos decides
    the result alone. Photos are searched for faces as they are needed.
    People with one photo can make no pair, and aren't used as impostors either: the gallery is of
    those who have a probe, so that a search in it has an answer. In which order people and photos
    are listed makes no difference. Of too few photos there are fewer than ``count`` pairs.

    Raises:
        InputError: Fewer than two people can make a pair.
    """
    left = {person.name: list(person.photos) for person in by_name(people)}  # to be searched
    for name, photos in left.items():
        # Whoever else there is. By bytes, for a folder's name may be no valid text.
        random.Random(encoded(f"{seed} {name}")).shuffle(photos)
    order = list(left)
    random.Random(seed).shuffle(order)
    left_out = [f"{n} ({'one' if left[n] else 'no'} photo)" for n in order if len(left[n]) < 2]
    able = turn = [name for name in order if len(left[name]) > 1]
    faces: dict[str, list[Located]] = {name: [] for name in able}
    no_face: list[str] = []

    def search(names: Sequence[str], wanted: int) -> list[str]:
        """Search photos of people until each has as many faces; return those who have."""
        while photos := [
            (name, left[name].pop(0))
            for name in names
            for _ in range(min(wanted - len(faces[name]), len(left[name])))
        ]:
            located = finder.find([photo for _, photo in photos])
            for (name, _), one in zip(photos, located, strict=True):
                if one.box:
                    faces[name].append(one)
                else:
                    no_face.append(one.label(name))
        return [name for name in names if len(faces[name]) >= wanted]

    pairs: list[tuple[str, Located]] = []
    wanted = 2  # faces of each: the gallery's, and the first probe
    while turn and len(pairs) < count:
        waiting, turn = turn, []
        while waiting and (need := count - len(pairs) - len(turn)):
            turn += search(waiting[:need], wanted)
            waiting = waiting[need:]
        pairs += [(name, faces[name][wanted - 1]) for name in turn]
        wanted += 1
    left_out += [
        f"{name} (fewer than two photos with a face)"
        for name in able
        if len(faces[name]) < 2 and not left[name]
    ]
    gallery = {name: faces[name][0] for name, _ in pairs}
    if len(gallery) < 2:
        raise InputError(
            f"pairs need two people, each with two photos that show a face; there are "
            f"{len(gallery)} (of {len(order)} in all; {len(no_face)} photos without a face)"
        )
    index = {name: number for number, name in enumerate(gallery)}
    return Drawn(
        list(gallery),
        list(gallery.values()),
        [probe for _, probe in pairs],
        [index[name] for name, _ in pairs],
        sorted(no_face),
        sorted(left_out),
    )
