"""Find faces, crop and align them.

Places in images are continuous: (0, 0) is the upper left corner, and the first pixel covers
[0, 1] x [0, 1]. Only `Face.box` is as the detector gives it, about half a pixel more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from skimage.transform import AffineTransform, estimate_transform, warp

from srkit import defaults, registry
from srkit.hookspecs import Detector, Face, Point

Box = tuple[float, float, float, float]  # left, top, right, bottom
Area = tuple[int, int, int, int]  # left and top, width and height, in pixels

# The box is widened by this factor, so that hair and chin are in: MTCNN's boxes are tight.
MARGIN = 1.35
DETECTOR = defaults.DETECTOR

# Width and height of CelebA's aligned images.
CELEBA_SIZE = (178, 218)
# Where both eyes, the nose and both corners of the mouth are in them: means of MTCNN's landmarks
# over 9,000 of the first 10,000 images, upscaled from half size by Pillow's bicubic, where its
# probability is 0.99 or more (8,813 of them). Standard deviations, across and down: 2.4 and 1.9
# pixels for an eye, 3.6 and 2.5 for a corner of the mouth, 6.4 and 4.3 for the nose.
CELEBA_LANDMARKS: tuple[Point, ...] = (
    (69.7, 111.7),
    (108.6, 111.7),
    (88.7, 135.7),
    (71.6, 153.3),
    (106.3, 153.2),
)
# MTCNN's box in them: means over 296 images, a face in 30 of CelebA's first 9,000, found as above.
# Standard deviations: 8 pixels of its middle across, 3 down; 9 of its height.
CELEBA_BOX = (46.9, 68.3, 132.0, 181.6)
# An aligned face is sampled this much more finely than asked for, and then reduced. Of a portrait
# turned by 6 degrees and shrunk to a quarter, that is 12 dB closer to sampling 8 times as finely.
FINER = 2


def detector(
    device: str = "cpu",
    *,
    min_size: int = 20,
    confidence: float = 0.9,
    max_pixels: int | None = None,
) -> Detector:
    """Return the detector of faces that srkit uses, a plugin's, on a device.

    ``max_pixels`` bounds its work; see `srkit.hookspecs.srkit_detectors`, as for the others.
    """
    result: Detector = registry.build(
        "detectors",
        DETECTOR,
        device=device,
        min_size=min_size,
        confidence=confidence,
        max_pixels=max_pixels,
    )
    return result


def crop(image: Image.Image, face: Face, size: int, *, margin: float = MARGIN) -> Image.Image:
    """Return a face as a square image, ``size`` pixels a side, by Pillow's bicubic.

    The square has the longer side of the box times ``margin`` and its centre; where it reaches
    beyond the image, the border's pixels are repeated.
    """
    square = cut(image, surrounding(face.box, margin))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def surrounding(box: Box, margin: float = MARGIN) -> Area:
    """Return the square of whole pixels with the longer side of a box times ``margin``."""
    left, top, right, bottom = box
    side = max(1, round(max(right - left, bottom - top) * margin))
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    return x, y, side, side


def celeba_area(box: Box) -> Area:
    """Return what CelebA's aligned image shows around a face that isn't turned.

    The longer side of its box, and the box's middle, are brought to those of `CELEBA_BOX`.
    """
    (width, height), (left, top, right, bottom) = CELEBA_SIZE, CELEBA_BOX
    scale = max(box[2] - box[0], box[3] - box[1]) / (bottom - top)
    x = (box[0] + box[2]) / 2 - scale * (left + right) / 2
    y = (box[1] + box[3]) / 2 - scale * (top + bottom) / 2
    return round(x), round(y), max(1, round(scale * width)), max(1, round(scale * height))


def cut(image: Image.Image, area: Area) -> Image.Image:
    """Return an area of an image; where it reaches beyond, the border's pixels are repeated."""
    x, y, width, height = area
    pixels = np.asarray(image.convert("RGB"))
    rows = np.clip(np.arange(y, y + height), 0, image.height - 1)
    columns = np.clip(np.arange(x, x + width), 0, image.width - 1)
    return Image.fromarray(pixels[rows][:, columns])


@dataclass(frozen=True)
class Placement:
    """Where an aligned crop lies in its image."""

    size: tuple[int, int]  # width and height of the crop in pixels
    scale: float  # pixels of the crop to one of the image; above 1 it shows less than its size says
    outside: float  # share of the crop outside of the image, in [0, 1]
    transform: Any = field(compare=False)  # scikit-image's similarity from the image to the crop


def place(landmarks: Sequence[Point], image: tuple[int, int], width: int) -> Placement | None:
    """Return the place of the crop that frames a face as CelebA does, or None for no face.

    It is the similarity (turn, scale, shift) that brings both eyes and the middle of the mouth
    closest to CelebA's (least squares; Umeyama, 1991). The nose and the mouth's width follow the
    head's turn and a smile more than the frame: with all five landmarks, CelebA's own images
    come back with their corners 6.9 pixels away on average, with these three 4.9, with the eyes
    alone 10.5. ``image`` is its width and height; the crop's height follows from its ``width``.
    """
    size = (width, round(width * CELEBA_SIZE[1] / CELEBA_SIZE[0]))
    goal = np.array(_anchors(CELEBA_LANDMARKS)) * (width / CELEBA_SIZE[0])
    transform = estimate_transform("similarity", np.array(_anchors(landmarks)), goal)
    if not transform or not np.isfinite(transform.params).all():
        return None
    grid = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in size)), axis=-1).reshape(-1, 2)
    places = transform.inverse(grid)
    outside = ((places < 0) | (places > image)).any(axis=1).mean()
    return Placement(size, float(transform.scale), float(outside), transform)


def _anchors(landmarks: Sequence[Point]) -> list[Point]:
    left, right, _, *mouth = landmarks
    return [left, right, ((mouth[0][0] + mouth[1][0]) / 2, (mouth[0][1] + mouth[1][1]) / 2)]


def align(image: Image.Image, placement: Placement) -> Image.Image:
    """Return a face as an upright crop; beyond the image, its border's pixels are repeated.

    What has to shrink is shrunk first, antialiased (Pillow's bicubic), to `FINER` times the
    crop's scale; then it is turned (scikit-image's bicubic), and brought to its size (Pillow's).
    """
    fine = placement.size[0] * FINER, placement.size[1] * FINER
    to_image = AffineTransform(scale=1 / FINER) + placement.transform.inverse
    shrink = min(1.0, placement.scale * FINER)
    margin = 4 / shrink  # what the kernels reach for
    corners = to_image(np.array([(0, 0), (fine[0], 0), (0, fine[1]), fine]))
    bounds = np.array(image.size)
    low = np.clip(np.floor(corners.min(axis=0) - margin), 0, bounds - 1)
    high = np.clip(np.ceil(corners.max(axis=0) + margin), low + 1, bounds)
    near = np.maximum(1, np.round((high - low) * shrink)).astype(int)
    part = image.convert("RGB").resize(
        (int(near[0]), int(near[1])), Image.Resampling.BICUBIC, box=(*low, *high)
    )
    # scikit-image counts from the middle of the first pixel.
    from_fine = AffineTransform(translation=(0.5, 0.5)) + to_image
    to_part = AffineTransform(translation=-low) + AffineTransform(scale=near / (high - low))
    turned = warp(
        np.asarray(part),
        from_fine + to_part + AffineTransform(translation=(-0.5, -0.5)),
        output_shape=(fine[1], fine[0]),
        order=3,
        mode="edge",
        preserve_range=True,
    )
    pixels = turned.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize(placement.size, Image.Resampling.BICUBIC)
