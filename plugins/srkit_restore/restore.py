"""Faces of an image upscaled by a model of faces, and blended into the result.

A face's landmarks give its frame: CelebA's centre square, turned as the face is. The network gets
that part of the image at its own resolution, in the quarter turn that brings the face nearest to
upright, averaged over its symmetries. It isn't resampled to the frame, as is usual, because of the
cost that ``benchmarks/faces.py`` measures. The mask is computed in the frame's coordinates for each
SR pixel.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from PIL import Image
from skimage.transform import AffineTransform, warp

from srkit.faces.align import detector
from srkit.hookspecs import Face, FaceResult
from srkit.imaging.image import to_8_bits
from srkit.inference import arrays
from srkit.inference.model import Model, Settings
from srkit_restore.frames import Array, Frame, framed, longer_side, outside
from srkit_restore.patches import Patch, Upscaled

# LR pixels along the longer side of the detector's box. Larger faces lack little, and the benchmark
# has none.
MIN_SIZE, MAX_SIZE = 8, 256
# Larger images are searched in a reduced copy: about 3 seconds and 0.6 GB on one core.
MAX_SEARCHED = 4_000_000
MAX_OUTSIDE = 0.5  # share of a face's box beyond the image's borders
STRIP = 256  # rows of SR pixels that are blended at once, so that large results need little memory


class FaceRestorer:
    """Finds faces and upscales them by a model of faces.

    Args:
        model: A model of faces; its scale need not be that of the image's result.
        min_size: Smallest face: the longer side of the detector's box in LR pixels.
        confidence: Faces of a lower probability are left out, in [0, 1].
        max_size: Larger faces are left as they are.
        device: Where the detector computes; the CPU if None. The model computes where it is.
    """

    def __init__(
        self,
        model: Model,
        *,
        min_size: int = MIN_SIZE,
        confidence: float = 0.9,
        max_size: int = MAX_SIZE,
        device: str | None = None,
    ) -> None:
        self.model, self.confidence = model, confidence
        self.min_size, self.max_size = min_size, max_size
        self.detector = detector(
            device or "cpu", min_size=min_size, confidence=confidence, max_pixels=MAX_SEARCHED
        )

    def key(self) -> dict[str, Any]:
        """Return everything that decides a result, except the images."""
        return {
            "model": self.model.sha256 or self.model.name,
            "min_size": self.min_size,
            "confidence": self.confidence,
            "max_size": self.max_size,
        }

    def restore(
        self,
        lr_pixels: np.ndarray,
        sr_pixels: np.ndarray,
        *,
        scale: float,
        skip: Collection[int] = (),
    ) -> list[FaceResult]:
        """Restore the faces of an image (``hw3``) in its upscaled result (``HW3``), in place.

        Both are uint8 or uint16, else it is a ValueError. Nothing outside of the faces' frames is
        touched, and neither image is copied as a whole. Large faces come first: where two meet, the
        smaller one lies over the larger. All detected faces are returned; ``skip`` are the places
        among them of those to leave as they are.
        """
        expected = [side * scale for side in lr_pixels.shape[:2]]
        apart = [abs(a - b) for a, b in zip(expected, sr_pixels.shape[:2], strict=True)]
        if lr_pixels.dtype != sr_pixels.dtype or max(apart) > 1:
            raise ValueError(
                f"{sr_pixels.shape} {sr_pixels.dtype} is not {lr_pixels.shape} "
                f"{lr_pixels.dtype} upscaled by {scale:g}"
            )
        results = []
        for number, (face, frame, note) in enumerate(self._framed(lr_pixels)):
            if number in skip:
                note = "a face was left as it is, as chosen"
            elif not note:
                self._blend(frame, lr_pixels, sr_pixels)
            size = longer_side(face)
            results.append(FaceResult(face.box, face.probability, size, not note, note))
        return results

    def crops(self, lr_pixels: np.ndarray) -> list[np.ndarray]:
        """Return the faces of an image (``hw3``), upright, framed, upscaled by the model's scale.

        They are squares of the same type, the largest first; those that `restore` would leave as
        they are aren't among them. Beyond the image, its border's pixels are repeated.
        """
        framed_faces = self._framed(lr_pixels)
        return [self._upright(frame, lr_pixels) for _, frame, note in framed_faces if not note]

    def _framed(self, lr_pixels: np.ndarray) -> list[tuple[Face, Frame, str]]:
        """Return each face, its frame, and why it's to be left as it is, if it is."""
        size = _size(lr_pixels)
        result = []
        for face in self.detector.faces(Image.fromarray(to_8_bits(lr_pixels))):
            longer, share, note = longer_side(face), outside(face, size), ""
            if longer > self.max_size:
                note = (
                    f"a face of {longer:.0f} pixels was left as it is: the model of faces is for "
                    f"those of up to {self.max_size}"
                )
            elif share > MAX_OUTSIDE:
                note = f"a face was left as it is: {share:.0%} of it lies outside of the image"
            if longer >= self.min_size:
                result.append((face, framed(face, size), note))
        return result

    def _upscaled(self, frame: Frame, lr_pixels: np.ndarray) -> Upscaled:
        """Return a frame and its context upscaled; the context ends where the image ends."""
        left, top, right, bottom = frame.bounds(_size(lr_pixels), self.model.context)
        part = lr_pixels[top:bottom, left:right]
        lr = np.rot90(arrays.to_values(part[None]), frame.quarters, (2, 3))
        sr = self.model.upscale_values(np.ascontiguousarray(lr), Settings(ensemble=True))
        values: Array = np.rot90(sr, -frame.quarters, (2, 3))[0].transpose(1, 2, 0)
        if (part == part[..., :1]).all():  # a grey image stays grey
            values = np.repeat(values.mean(axis=2, keepdims=True), 3, axis=2)
        return Upscaled(values, (left, top), self.model.scale)

    def _blend(self, frame: Frame, lr_pixels: np.ndarray, sr_pixels: np.ndarray) -> None:
        (height, width), (rows, columns) = sr_pixels.shape[:2], lr_pixels.shape[:2]
        x, y = width / columns, height / rows  # nearly the same, but sides are whole pixels
        patch = Patch(self._upscaled(frame, lr_pixels), sr_pixels, frame, (columns, rows))
        left, top, right, bottom = frame.bounds((columns, rows))
        first, last = math.floor(left * x), min(width, math.ceil(right * x))
        start, end = math.floor(top * y), min(height, math.ceil(bottom * y))
        across = (np.arange(first, last, dtype=np.float32) + 0.5) / x
        for row in range(start, end, STRIP):
            stop = min(row + STRIP, end)
            part = sr_pixels[row:stop, first:last]
            general = part.astype(np.float32)
            face = patch.within((first / x, row / y, last / x, stop / y), part.shape)
            down = (np.arange(row, stop, dtype=np.float32) + 0.5) / y
            mixed = general + frame.mask(across, down)[..., None] * (face - general)
            part[...] = mixed.round().clip(0, np.iinfo(part.dtype).max).astype(part.dtype)

    def _upright(self, frame: Frame, lr_pixels: np.ndarray) -> np.ndarray:
        upscaled = self._upscaled(frame, lr_pixels)
        left, top = upscaled.origin
        side = max(1, round(frame.side * self.model.scale))
        # From the crop's pixels (scikit-image counts from the middle of the first) to the frame,
        # the image, and the pixels of the upscaled part.
        to_values = (
            AffineTransform(translation=(0.5 - side / 2, 0.5 - side / 2))
            + AffineTransform(scale=1 / side)
            + frame.to_image()
            + AffineTransform(translation=(-left, -top))
            + AffineTransform(scale=self.model.scale)
            + AffineTransform(translation=(-0.5, -0.5))
        )
        upright = warp(upscaled.values, to_values, output_shape=(side, side), order=3, mode="edge")
        most = np.iinfo(lr_pixels.dtype).max
        pixels: np.ndarray = (upright.clip(0, 1) * most).round().astype(lr_pixels.dtype)
        return pixels


def _size(pixels: np.ndarray) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]
