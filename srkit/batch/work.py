"""What is done to each picture of a batch, and what is written of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import srkit
from srkit.errors import InputError
from srkit.imaging import codec, formats
from srkit.imaging.codec import Picture
from srkit.imaging.provenance import Origin
from srkit.inference import consistency
from srkit.inference.model import Settings
from srkit.inference.upscale import Model, wanted_size

if TYPE_CHECKING:
    from srkit.faces.restore import FaceRestorer


@dataclass(frozen=True)
class Result:
    """One picture's outcome, before it is written.

    Attributes:
        pictures: What to write: the whole picture, or its faces.
        residual: How far it is from its input when reduced again, in 255ths; None where nobody
            asked.
        faces: How many faces were restored, and how many were found; None without faces.
        notes: What the user should know.
    """

    pictures: tuple[Picture, ...]
    residual: float | None = None
    faces: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What is done to each picture.

    Attributes:
        model: Enlarges the whole picture.
        settings: How.
        restorer: Finds and restores faces; None without.
        faces_only: Write the restored faces instead of the picture.
        report: Measure the residual.
        tag: Write into each result what made it.
    """

    model: Model
    settings: Settings = field(default_factory=Settings)
    restorer: FaceRestorer | None = None
    faces_only: bool = False
    report: bool = False
    tag: bool = True

    def made_by(self) -> dict[str, Any]:
        """Return all that decides a result, but for the input."""
        settings = asdict(self.settings)
        if self.model.exact_tiles:
            del settings["tile"]
        return {
            "srkit": srkit.__version__,
            "model": self.model.sha256 or self.model.name,
            "settings": settings,
            "faces": self.restorer.made_by() if self.restorer else None,
            "faces_only": self.faces_only,
            "tag": self.tag,
        }

    def origin(self) -> Origin | None:
        """Return what is written into results."""
        if not self.tag:
            return None
        models = [self.model] if not self.faces_only else []
        if self.restorer:
            models.append(self.restorer.model)
        sums = [model.sha256 for model in models if model.sha256]
        return Origin(
            model=" + ".join(dict.fromkeys(model.name for model in models)),
            sha256=" + ".join(dict.fromkeys(sums)) or None,
            version=srkit.__version__,
            generated=any(model.generates for model in models),
        )

    def check(self, output: Path, size: tuple[int, int]) -> None:
        """See that a result can be written, before it is computed.

        Raises:
            InputError: It can't.
        """
        if not self.faces_only:
            formats.require_writable(output, wanted_size(size, self.model, self.settings))

    def at_once(self, size: tuple[int, int]) -> int:
        """Return how many pictures of a size are computed together."""
        return 1 if self.restorer else self.model.at_once(size)

    def do(
        self, pictures: Sequence[Picture], progress: Callable[[int], None] = lambda pixels: None
    ) -> list[Result]:
        """Do one picture, or several of one size.

        Raises:
            InputError: Not enough memory, or a network whose answer is not finite.
        """
        if self.faces_only:
            return [self._only_faces(picture) for picture in pictures]
        if len(pictures) > 1:
            made = self.model.upscale_pictures(pictures, self.settings)
            progress(sum(picture.size[0] * picture.size[1] for picture in pictures))
        else:
            made = [self.model.upscale_picture(pictures[0], self.settings, progress)]
        return [
            self._finished(picture, result) for picture, result in zip(pictures, made, strict=True)
        ]

    def _finished(self, picture: Picture, made: Picture) -> Result:
        faces, notes = None, [*picture.notes, *self._notes(picture.size)]
        if self.restorer:
            scale = made.size[0] / picture.size[0]
            # its own pixels, not yet seen by anyone else
            found = self.restorer.restore(picture.pixels, made.pixels, scale=scale)
            faces = (sum(face.restored for face in found), len(found))
            notes += dict.fromkeys(face.note for face in found if face.note)
        residual = consistency.residual(made.pixels, picture.pixels) if self.report else None
        return Result((made,), residual, faces, tuple(notes))

    def _notes(self, size: tuple[int, int]) -> list[str]:
        recipe = self.model.recipe
        if recipe is None or max(size) <= 4 * (side := recipe.data.size // self.model.scale):
            return []
        return [
            f"model '{self.model.name}' learned from {side}x{side} pictures; on much larger ones "
            "it sharpens edges but adds no facial detail"
        ]

    def _only_faces(self, picture: Picture) -> Result:
        assert self.restorer is not None
        crops = self.restorer.crops(picture.pixels)
        if not crops:
            raise InputError("no face found in it")
        about = {k: v for k, v in picture.info.items() if k in ("icc_profile", "dpi")}
        made = tuple(Picture(np.ascontiguousarray(c), None, picture.grey, about) for c in crops)
        return Result(made, faces=(len(made), len(made)), notes=picture.notes)

    def write(self, result: Result, output: Path) -> tuple[list[Path], list[str]]:
        """Write a result; of several faces each under a number.

        Returns:
            The files, and what their format has no place for, a line each.

        Raises:
            InputError: The disk is full, or the folder can't be written.
        """
        files = [output]
        if len(result.pictures) > 1:
            count = len(result.pictures)
            files = [output.with_stem(f"{output.stem}-{n}") for n in range(1, count + 1)]
        lost: list[str] = []
        for picture, file in zip(result.pictures, files, strict=True):
            lost += codec.save(picture, file, origin=self.origin())
        return files, list(dict.fromkeys(lost))
