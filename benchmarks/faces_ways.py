"""Ways of using a model of faces on the faces of an image, for `faces.py` to compare."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from faces_picture import SCALE
from PIL import Image
from skimage.transform import AffineTransform, SimilarityTransform, warp
from srkit_restore.frames import Frame, framed
from srkit_restore.patches import Upscaled
from srkit_restore.restore import FaceRestorer

from srkit.faces import align
from srkit.imaging import codec
from srkit.inference.model import Model

# Of LR pixels and the general result: the restored one, and whether there was a face; None where
# this way makes no sense.
Restored: TypeAlias = tuple[np.ndarray, bool]
Way: TypeAlias = Callable[[np.ndarray, np.ndarray], Restored | None]


class Unmirrored(FaceRestorer):
    """Restores faces by one result of the model."""

    def __init__(self, model: Model) -> None:
        generator = copy.deepcopy(model.generator)
        generator.symmetries = ()  # type: ignore[assignment]
        super().__init__(replace(model, network=generator, graph=None, run=None))


class Resampled(FaceRestorer):
    """Restores faces as most pipelines do: resampled to their frame, and back (bicubic).

    Args:
        model: Of faces.
        side: Of the frame, in pixels; the face's own resolution if None.
        spline: Quintic splines in place of bicubic, which is antialiased where it reduces.
    """

    def __init__(self, model: Model, *, side: int | None = None, spline: bool = False) -> None:
        super().__init__(model)
        self.side, self.spline = side, spline

    def _upscaled(self, frame: Frame, lr_pixels: np.ndarray) -> Upscaled:
        side, by = self.side or max(8, round(frame.side)), self.model.scale
        to_image = _moved(-side / 2, -side / 2) + _scaled(1 / side) + frame.to_image()
        to_crop = SimilarityTransform(matrix=np.linalg.inv(to_image.params))
        if self.spline:
            way = _moved(0.5, 0.5) + to_image + _moved(-0.5, -0.5)
            lr = lr_pixels.astype(np.float32) / 255
            crop = warp(lr, way, output_shape=(side, side), order=5, mode="edge", clip=False)
            tensor = torch.from_numpy(crop.clip(0, 1).transpose(2, 0, 1).copy())[None].float()
        else:
            placement = align.Placement((side, side), side / frame.side, 0.0, to_crop)
            tensor = codec.to_tensor(align.align(Image.fromarray(lr_pixels), placement))
        face = self.model.upscale(tensor, ensemble=True)[0].permute(1, 2, 0).numpy()
        left, top, right, bottom = frame.bounds((lr_pixels.shape[1], lr_pixels.shape[0]), 4)
        back = (
            _moved(0.5, 0.5)
            + _scaled(1 / by)
            + _moved(left, top)
            + AffineTransform(matrix=to_crop.params)
            + _scaled(by)
            + _moved(-0.5, -0.5)
        )
        shape = ((bottom - top) * by, (right - left) * by)
        values = warp(face, back, output_shape=shape, order=3, mode="edge", clip=False)
        return Upscaled(values.clip(0, 1).astype(np.float32), (left, top), by)


def _moved(x: float, y: float) -> AffineTransform:
    return AffineTransform(translation=(x, y))


def _scaled(by: float) -> AffineTransform:
    return AffineTransform(scale=by)


def ways(model: Model) -> dict[str, Way]:
    """Return the ways of restoring faces, by name."""

    def by(restorer: FaceRestorer) -> Way:
        def restored(lr: np.ndarray, general: np.ndarray) -> Restored | None:
            sr = general.copy()
            found = restorer.restore(lr, sr, scale=SCALE)
            return sr, any(face.restored for face in found)

        return restored

    def reduced(side: int) -> Way:
        restorer = Resampled(model, side=side)

        def restored(lr: np.ndarray, general: np.ndarray) -> Restored | None:
            found = restorer.detector.faces(Image.fromarray(lr))
            size = (lr.shape[1], lr.shape[0])
            if not found or framed(found[0], size).side < side:
                return None
            return by(restorer)(lr, general)

        return restored

    faces_ = by(FaceRestorer(model))

    def half(lr: np.ndarray, general: np.ndarray) -> Restored | None:
        made = faces_(lr, general)
        assert made
        mean = (made[0].astype(np.float32) + general) / 2
        return mean.round().astype(np.uint8), made[1]

    return {
        "faces": faces_,
        "unmirrored": by(Unmirrored(model)),
        "half": half,
        "spline": by(Resampled(model, spline=True)),
        "bicubic": by(Resampled(model)),
        **{str(side): reduced(side) for side in (16, 32, 64)},
    }
