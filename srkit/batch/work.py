"""What is done to each image of a batch, and what is written of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import srkit
from srkit import defaults, registry
from srkit.errors import InputError
from srkit.hookspecs import FaceResult, Restorer
from srkit.imaging import carried
from srkit.imaging.codec import DecodedImage, Origin
from srkit.inference import consistency
from srkit.inference.device import keep_memory
from srkit.inference.model import Model, Progress, Settings
from srkit.models.load import load


@dataclass(frozen=True)
class Result:
    """One image's outcome, before it is written."""

    images: tuple[DecodedImage, ...]  # to write: the whole image, or its faces
    residual: float | None = None  # RMS from the input when downscaled, in 255ths, if measured
    faces: tuple[int, int] | None = None  # restored and detected
    notes: tuple[str, ...] = ()  # what the user should know
    detected: Sequence[FaceResult] = ()  # the largest first


@dataclass(frozen=True)
class Work:
    """What is done to each image."""

    model: Model
    settings: Settings = field(default_factory=Settings)
    restorer: Restorer | None = None  # of faces
    faces_only: bool = False  # write the restored faces instead of the image
    report: bool = False  # measure the residual
    tag: bool = True  # embed provenance in each result
    keep_time: bool = False  # give each result the modification time of its input
    skip_faces: Collection[int] = ()  # detected faces to leave as they are, by their places

    @classmethod
    def load(
        cls,
        model: str | None,
        settings: Settings,
        *,
        face_model: str | None = None,
        min_face_size: int = 8,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        **values: Any,
    ) -> Work:
        """Return the work that options of ``srkit upscale`` mean; ``values`` are its attributes."""
        how = {"device": device, "precision": precision, "engine": engine}
        name = model or (defaults.GENERAL_MODEL if face_model else defaults.MODEL)
        general, restorer = load(name, **how), None
        if face_model:
            by = load(face_model, **how)
            part = "restorers", defaults.RESTORER
            with registry.blamed(*part):
                restorer = registry.find(*part)(model=by, min_size=min_face_size, device=by.device)
        keep_memory(large=False)
        return cls(general, settings, restorer, **values)

    def key(self) -> dict[str, Any]:
        """Return all that decides a result, but for the input."""
        settings = asdict(self.settings)
        if self.model.exact_tiles:
            del settings["tile"]
        return {
            "srkit": srkit.__version__,
            "model": self.model.sha256 or self.model.name,
            "precision": self.model.limits.precision,
            "settings": settings,
            "faces": self.restorer.key() if self.restorer else None,
            "faces_only": self.faces_only,
            "tag": self.tag,
        }

    def origin(self) -> Origin | None:
        """Return the provenance that is embedded in results."""
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
            engine=" + ".join(dict.fromkeys(str(m.choice) for m in models if m.choice)),
        )

    def batch_size(self, size: tuple[int, int]) -> int:
        """Return how many images of a size are computed together."""
        return 1 if self.restorer else self.model.batch_size(size)

    def do(
        self, images: Sequence[DecodedImage], progress: Progress = lambda images: None
    ) -> list[Result]:
        """Do one image, or several of one size.

        InputError: not enough memory, or a network whose result makes no sense.
        """
        if self.faces_only:
            return [self._only_faces(image) for image in images]
        upscaled = self.model.upscale_decoded(images, self.settings, progress)
        return [self._finished(lr, sr) for lr, sr in zip(images, upscaled, strict=True)]

    def _finished(self, lr: DecodedImage, sr: DecodedImage) -> Result:
        faces, notes = None, [*lr.notes, *self._notes(lr.size)]
        restored: Sequence[FaceResult] = ()
        if self.restorer:
            scale, skip = sr.size[0] / lr.size[0], self.skip_faces
            # its own pixels, not yet seen by anyone else
            restored = self.restorer.restore(lr.pixels, sr.pixels, scale=scale, skip=skip)
            faces = (sum(face.restored for face in restored), len(restored))
            notes += dict.fromkeys(face.note for face in restored if face.note)
        residual = consistency.residual(sr.pixels, lr.pixels) if self.report else None
        return Result((sr,), residual, faces, tuple(notes), restored)

    def _notes(self, size: tuple[int, int]) -> list[str]:
        recipe = self.model.recipe
        if recipe is None or max(size) <= 4 * (side := max(recipe.data.sizes) // self.model.scale):
            return []
        return [
            f"model '{self.model.name}' learned from {side}x{side} images; on much larger ones "
            "it sharpens edges but adds no facial detail"
        ]

    def _only_faces(self, image: DecodedImage) -> Result:
        assert self.restorer is not None
        crops = self.restorer.crops(image.pixels)
        if not crops:
            raise InputError("no face found in it")
        info = {k: v for k, v in image.info.items() if k in ("icc_profile", "hdr", "dpi")}
        rest = [carried.BY_KEY[key].what for key in set(image.info) - set(info) - {"lossless"}]
        notes = [f"faces hold no {', '.join(sorted(rest))} of their image"] if rest else []
        faces = tuple(DecodedImage(np.ascontiguousarray(c), None, image.grey, info) for c in crops)
        return Result(faces, faces=(len(faces), len(faces)), notes=(*image.notes, *notes))
