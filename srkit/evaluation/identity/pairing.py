"""A draw of pairs: who stands in the gallery, and whose photos are held against it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from srkit.errors import InputError
from srkit.evaluation.identity.found import Finder, Located
from srkit.evaluation.identity.people import by_name
from srkit.evaluation.protocol import encoded
from srkit.hookspecs import Person

LEAST = 2  # people: fewer make no impostor


@dataclass(frozen=True)
class Drawn:
    """Same pairs: a gallery photo of each person, and probes.

    Attributes:
        people: Names, in the order of the draw.
        gallery: A photo of each.
        probes: In the order of the draw: all people's first ones, then second ones.
        owner: Of each probe, its person's place.
        no_face: Photos that were looked at and have no face, as ``person/photo``.
        left_out: People who can make no pair, and why.
    """

    people: list[str]
    gallery: list[Located]
    probes: list[Located]
    owner: list[int]
    no_face: list[str]
    left_out: list[str]

    def first(self, pairs: int) -> Drawn:
        """Return the first so many pairs, with the gallery of their people alone."""
        owner = self.owner[:pairs]
        kept = sorted(set(owner))
        place = {old: new for new, old in enumerate(kept)}
        return Drawn(
            [self.people[old] for old in kept],
            [self.gallery[old] for old in kept],
            self.probes[: len(owner)],
            [place[old] for old in owner],
            self.no_face,
            self.left_out,
        )

    @property
    def roles(self) -> list[tuple[str, list[Path]]]:
        """Every person's photos, that of the gallery first."""
        found = [(name, [one.photo]) for name, one in zip(self.people, self.gallery, strict=True)]
        for owner, probe in zip(self.owner, self.probes, strict=True):
            found[owner][1].append(probe.photo)
        return found


@dataclass
class _Candidate:
    """A person, photos not looked at yet, and faces found so far."""

    name: str
    photos: list[Path]
    faces: list[Located] = field(default_factory=list)


def draw_pairs(people: Sequence[Person], count: int, seed: int, finder: Finder) -> Drawn:
    """Draw same pairs by seed.

    People are put into an order of luck, and so are the photos of each. A person's first photo
    with a face stands in the gallery, the second is a probe. Only when everybody has had a turn
    and pairs are still lacking, there is a second probe of each, and so on: nobody with hundreds of
    photos decides the result before the others have had theirs. Photos are searched for faces as
    they are needed. People with one photo can make no pair, and aren't used as impostors either:
    the gallery is of those who have a probe, so that a search in it has an answer.

    Args:
        people: In any order; neither that nor the order of their photos makes a difference.
        count: How many pairs; fewer if there aren't as many.
        seed: Of the draw.
        finder: Finds faces.

    Raises:
        InputError: Fewer than two people can make a pair.
    """
    candidates = [_candidate(person, seed) for person in by_name(people)]
    random.Random(seed).shuffle(candidates)
    left_out = [f"{c.name} ({_few(c)})" for c in candidates if len(c.photos) < 2]
    able = turn = [c for c in candidates if len(c.photos) > 1]
    no_face: list[str] = []
    pairs: list[tuple[_Candidate, Located]] = []
    wanted = 2  # faces of each: the gallery's, and the first probe
    while turn and len(pairs) < count:
        turn = _turn(turn, wanted, count - len(pairs), finder, no_face)
        pairs += [(candidate, candidate.faces[wanted - 1]) for candidate in turn]
        wanted += 1
    left_out += [
        f"{c.name} (fewer than two photos with a face)"
        for c in able
        if len(c.faces) < 2 and not c.photos
    ]
    chosen = list(dict.fromkeys(c.name for c, _ in pairs))
    if len(chosen) < LEAST:
        raise InputError(
            f"two people with two photos each, with a face in them, are the least; there are "
            f"{len(chosen)} (of {len(candidates)} in all; {len(no_face)} photos without a face)"
        )
    place = {name: number for number, name in enumerate(chosen)}
    gallery = {c.name: c.faces[0] for c, _ in pairs}
    return Drawn(
        chosen,
        [gallery[name] for name in chosen],
        [probe for _, probe in pairs],
        [place[c.name] for c, _ in pairs],
        sorted(no_face),
        sorted(left_out),
    )


def _candidate(person: Person, seed: int) -> _Candidate:
    photos = list(person.photos)
    # Whoever else there is. Of bytes, for a folder's name may be no valid text.
    random.Random(encoded(f"{seed} {person.name}")).shuffle(photos)
    return _Candidate(person.name, photos)


def _few(candidate: _Candidate) -> str:
    return "one photo" if candidate.photos else "no photo"


def _turn(
    candidates: Sequence[_Candidate], wanted: int, need: int, finder: Finder, no_face: list[str]
) -> list[_Candidate]:
    """Return the first people, as many as needed, of whom so many faces can be found."""
    reached: list[_Candidate] = []
    waiting = list(candidates)
    while waiting and len(reached) < need:
        lack = need - len(reached)
        some, waiting = waiting[:lack], waiting[lack:]
        _look(some, wanted, finder, no_face)
        reached += [candidate for candidate in some if len(candidate.faces) >= wanted]
    return reached


def _look(some: list[_Candidate], wanted: int, finder: Finder, no_face: list[str]) -> None:
    """Search people's photos, one after another, until each has so many faces or no photo more."""
    while lacking := [c for c in some if len(c.faces) < wanted and c.photos]:
        asked = []
        for candidate in lacking:
            lack = wanted - len(candidate.faces)
            asked += [(candidate, photo) for photo in candidate.photos[:lack]]
            del candidate.photos[:lack]
        located = finder.find([photo for _, photo in asked])
        for (candidate, _), one in zip(asked, located, strict=True):
            if one.box:
                candidate.faces.append(one)
            else:
                no_face.append(one.said(candidate.name))
