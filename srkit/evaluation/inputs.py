"""What a bench is given: photos, people, models, and what other programs made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srkit import defaults, registry
from srkit.data import sources
from srkit.errors import InputError
from srkit.evaluation import identity, results
from srkit.evaluation.columns import Column
from srkit.evaluation.identity.probes import require_alignment
from srkit.evaluation.identity.verification import PAIRS, SIDES, SIZE_PAIRS
from srkit.evaluation.protocol import Protocol
from srkit.hookspecs import Person
from srkit.imaging import codec
from srkit.inference.device import device_named
from srkit.inference.model import Model
from srkit.models.load import DEFAULT_MODEL, load

PHOTOS = 3  # a base and two probes, as in section IV-B

Given = str | Path | Model | Column


@dataclass(frozen=True)
class Faces:
    """Whose faces are compared, and how.

    Attributes:
        verify: A registered face set: ``imm``, ``lfw``, ``folders``, ``csv``.
        data: Its folder or file; a folder of the set's name under ``SRKIT_DATA`` if None.
        embedder: A registered embedder.
        weights: Its ``weights`` option.
        align: ``hr``: the crop is made once, on the HR photo; ``sr``: anew on each result.
        people: How many are drawn for the table of distances; the face set's own number if None
            (the paper: 5), 0 for the table of everybody alone.
        pairs: How many same pairs are drawn; `PAIRS` if None, and none of a set that has a draw.
        sides: Sides of LR, in pixels, for the curve over sizes.
        size_pairs: How many of the pairs that curve rests on.
    """

    verify: str
    data: str | Path | None = None
    embedder: str = defaults.EMBEDDER
    weights: str | Path | None = None
    align: str = "hr"
    people: int | None = None
    pairs: int | None = None
    sides: Sequence[int] = SIDES
    size_pairs: int = SIZE_PAIRS

    def judge(self, device: str = "cpu") -> Any:
        """Return the embedder.

        Raises:
            SrkitError: It isn't known, or its weights can't be had.
        """
        options = {"weights": str(self.weights)} if self.weights else {}
        return registry.build("embedders", self.embedder, **options).to(device_named(device))


@dataclass(frozen=True)
class FaceSet:
    """A face set as it was found.

    Attributes:
        people: Everybody.
        drawn: Those of the table of distances, with the photos drawn of each.
        whole: Whether the distances of everybody are measured as well.
        pairs: How many same pairs are.
    """

    people: list[Person]
    drawn: list[Person]
    whole: bool
    pairs: int


def people(faces: Faces, protocol: Protocol) -> FaceSet:
    """Read a face set and draw from it by the protocol's seed.

    Raises:
        InputError: It isn't there, or is empty, or an option makes no sense.
    """
    require_alignment(faces.align)
    reader = registry.find("face_sets", faces.verify)
    named = Path(faces.data or faces.verify)
    purpose = f"face set '{faces.verify}'"
    root = named if named.is_file() else sources.locate(named, purpose=purpose)
    found = list(reader(root))
    draw: tuple[int, int] | None = getattr(reader, "draw", None)
    count, photos_each = draw or (0, PHOTOS)
    count = count if faces.people is None else faces.people
    drawn = identity.draw(found, count, photos_each, protocol.seed) if count else []
    pairs = (0 if draw else PAIRS) if faces.pairs is None else faces.pairs
    if pairs == 1:
        raise InputError("one pair has nobody to be told from; take two or more")
    if not (drawn or draw or pairs):
        raise InputError("no pairs and no people: nothing to verify")
    return FaceSet(found, drawn, draw is not None, pairs)


def by_face(protocol: Protocol) -> Protocol:
    """Return the protocol by which faces are compared: the same, but for what is framed."""
    return protocol.changed(
        framing="face", border=0, metrics=(), set_metrics=(), scores="8-bit sr against HR"
    )


def photos(data: str | Path, limit: int | None = None) -> list[Path]:
    """Return a data set's test pictures, or a folder's pictures, by name.

    Raises:
        InputError: There is no such folder, or no picture in it.
    """
    if str(data) == sources.SAMPLES:
        raise InputError("'samples' are for training; bench wants a folder of photos")
    folder = sources.locate(data, purpose="photos")
    files = sources.split_files(folder, "test") or codec.listed(folder)
    if not files:
        raise InputError(f"{folder}: no pictures in it")
    return files[:limit]


def models(
    given: Given | Sequence[Given], others: Mapping[str, str | Path] | None, device: str
) -> list[Model | Column]:
    """Load models; the shipped default where nothing at all is given.

    Raises:
        SrkitError: One can't be had.
    """
    named = [given] if isinstance(given, (str, Path, Model, Column)) else given
    found = [m if isinstance(m, (Model, Column)) else load(m, device=device) for m in named]
    return found or ([] if others else [load(DEFAULT_MODEL, device=device)])


def others(folders: Mapping[str, str | Path] | None, scale: int) -> list[Column]:
    """Return the columns of other programs' results, name to folder.

    Raises:
        InputError: A folder isn't there, or is empty.
    """
    return [
        results.Results(name, Path(folder), scale).column()
        for name, folder in (folders or {}).items()
    ]
