"""The people compared: in an order that doesn't depend on how they are listed, and draws."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
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
    holders: dict[int, list[tuple[str, Path]]] = {}
    photos = [(person.name, photo) for person in named for photo in person.photos]
    small = list(read_ahead(_thumbnail, [photo for _, photo in photos]))
    for holder, first in zip(photos, _originals(small), strict=True):
        holders.setdefault(first, []).append(holder)
    copies = set[tuple[str, Path]]()
    for held in holders.values():
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


def _originals(thumbnails: Sequence[np.ndarray | None]) -> list[int]:
    """Return for each thumbnail the place of the first that is like it, which may be its own."""
    first = list(range(len(thumbnails)))
    known = {place: each for place, each in enumerate(thumbnails) if each is not None}
    if not known:
        return first
    from scipy.spatial import KDTree

    places, pixels = list(known), np.stack(list(known.values())).astype(np.int16)
    means = pixels.reshape(-1, 4, SIDE // 4, 4, SIDE // 4).mean(axis=(2, 4)).reshape(-1, 16)
    tree = KDTree(means)
    for one, mean in enumerate(means):  # what is alike has means that are alike
        others = np.array(tree.query_ball_point(mean, ALIKE, p=np.inf))
        others = others[others > one]
        for other in others[np.abs(pixels[others] - pixels[one]).max(axis=1, initial=0) <= ALIKE]:
            a, b = sorted((first[places[one]], first[places[other]]))
            first = [a if each == b else each for each in first] if a != b else first
    return first


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
        owner = self.owner[:pairs]
        people = sorted(set(owner))
        index = {old: new for new, old in enumerate(people)}
        return Drawn(
            [self.people[old] for old in people],
            [self.gallery[old] for old in people],
            self.probes[: len(owner)],
            [index[old] for old in owner],
            self.no_face,
            self.left_out,
        )

    @property
    def roles(self) -> Roles:
        """Every person's photos, the gallery's first."""
        roles = [(name, [one.photo]) for name, one in zip(self.people, self.gallery, strict=True)]
        for owner, probe in zip(self.owner, self.probes, strict=True):
            roles[owner][1].append(probe.photo)
        return roles


@dataclass
class _Candidate:
    """A person, photos that aren't searched yet, and those that are, with and without a face."""

    name: str
    photos: list[Path]
    faces: list[Located] = field(default_factory=list)
    without: list[Located] = field(default_factory=list)

    def search(self, wanted: int, finder: Finder) -> bool:
        """Search photos until there are as many faces, if there are."""
        while photos := self.next_photos(wanted):
            self.take(finder.find(photos))
        return len(self.faces) >= wanted

    def next_photos(self, wanted: int) -> list[Path]:
        """Take out the photos to be searched next."""
        count = max(0, wanted - len(self.faces))
        photos, self.photos = self.photos[:count], self.photos[count:]
        return photos

    def take(self, located: Iterable[Located]) -> None:
        """Take what was found on photos."""
        for one in located:
            (self.faces if one.box else self.without).append(one)


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
    candidates = [_candidate(person, seed) for person in by_name(people)]
    random.Random(seed).shuffle(candidates)
    lone = [c for c in candidates if len(c.photos) < 2]
    left_out = [f"{c.name} ({'one' if c.photos else 'no'} photo)" for c in lone]
    able = turn = [c for c in candidates if len(c.photos) > 1]
    pairs: list[tuple[_Candidate, Located]] = []
    wanted = 2  # faces of each: the gallery's, and the first probe
    while turn and len(pairs) < count:
        need = count - len(pairs)
        # What most will do with is searched at once.
        photos = [c.next_photos(wanted) for c in turn[:need]]
        located = iter(finder.find(list(chain.from_iterable(photos))))
        for candidate, own in zip(turn, photos, strict=False):
            candidate.take(islice(located, len(own)))
        turn = list(islice((c for c in turn if c.search(wanted, finder)), need))
        pairs += [(candidate, candidate.faces[wanted - 1]) for candidate in turn]
        wanted += 1
    left_out += [
        f"{c.name} (fewer than two photos with a face)"
        for c in able
        if len(c.faces) < 2 and not c.photos
    ]
    no_face = [one.label(c.name) for c in able for one in c.without]
    gallery = {c.name: c.faces[0] for c, _ in pairs}
    if len(gallery) < 2:
        raise InputError(
            f"pairs need two people, each with two photos that show a face; there are "
            f"{len(gallery)} (of {len(candidates)} in all; {len(no_face)} photos without a face)"
        )
    index = {name: number for number, name in enumerate(gallery)}
    return Drawn(
        list(gallery),
        list(gallery.values()),
        [probe for _, probe in pairs],
        [index[c.name] for c, _ in pairs],
        sorted(no_face),
        sorted(left_out),
    )


def _candidate(person: Person, seed: int) -> _Candidate:
    photos = list(person.photos)
    # Whoever else there is. By bytes, for a folder's name may be no valid text.
    random.Random(encoded(f"{seed} {person.name}")).shuffle(photos)
    return _Candidate(person.name, photos)
