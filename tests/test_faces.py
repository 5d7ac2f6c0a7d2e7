"""Finding a face, and cropping it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageOps
from skimage.transform import AffineTransform, SimilarityTransform, warp

from srkit.faces.align import (
    CELEBA_LANDMARKS,
    CELEBA_SIZE,
    MARGIN,
    Placement,
    align,
    crop,
    place,
)
from srkit.faces.align import detector as align_detector
from srkit.hookspecs import Detector, Face, Point

# Where her face is in scikit-image's astronaut (512x512): between hairline and chin, ear to ear.
CENTRE = (222, 110)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return align_detector()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.fromarray(skimage.data.astronaut())


def centre(face: Face) -> tuple[float, float]:
    left, top, right, bottom = face.box
    return (left + right) / 2, (top + bottom) / 2


def test_the_astronauts_face_is_found(detector: Detector, astronaut: Image.Image) -> None:
    found = detector.faces(astronaut)
    assert centre(found[0]) == pytest.approx(CENTRE, abs=15)
    left, top, right, bottom = found[0].box
    assert 60 < right - left < 140
    assert 80 < bottom - top < 160
    assert found[0].probability > 0.99
    areas = [(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]) for f in found]
    assert areas == sorted(areas, reverse=True)


def test_a_mirrored_grey_face_is_found(detector: Detector, astronaut: Image.Image) -> None:
    x, y = centre(detector.faces(ImageOps.mirror(astronaut).convert("L"))[0])
    assert (512 - x, y) == pytest.approx(CENTRE, abs=15)


def test_noise_has_no_face(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    assert detector.faces(Image.fromarray(noise)) == []


@pytest.mark.parametrize("size", [(64, 64), (30, 20), (300, 25), (5, 4)])
def test_an_empty_or_small_image_has_no_face(detector: Detector, size: tuple[int, int]) -> None:
    assert detector.faces(Image.new("RGB", size, (128, 128, 128))) == []


@pytest.mark.parametrize("least", [47, 94])  # times 12.0 / least it is 11.999999999999998
def test_an_image_just_as_small_as_the_least_face_is_looked_at_or_not(least: int) -> None:
    assert align_detector(min_size=least).faces(Image.new("RGB", (least, least))) == []


def test_least_size_and_confidence_leave_faces_out(astronaut: Image.Image) -> None:
    assert align_detector(min_size=300).faces(astronaut) == []
    assert align_detector(confidence=1.1).faces(astronaut) == []


def test_the_crop_is_square_and_the_face_is_in_its_middle(
    detector: Detector, astronaut: Image.Image
) -> None:
    face = detector.faces(astronaut)[0]
    square = crop(astronaut, face, 64)
    assert (square.mode, square.size) == ("RGB", (64, 64))
    again = detector.faces(crop(astronaut, face, 160))[0]
    assert centre(again) == pytest.approx((80, 80), abs=8)
    assert max(again.box[2] - again.box[0], again.box[3] - again.box[1]) == pytest.approx(
        160 / MARGIN, rel=0.12
    )


@pytest.fixture(scope="module")
def ramp() -> Image.Image:
    """Red says the column, green the row, 100x80."""
    rows, columns = np.mgrid[0:80, 0:100]
    return Image.fromarray(np.dstack([columns, rows, rows * 0]).astype(np.uint8))


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        ((40, 30, 60, 50), ((40, 59), (30, 49))),
        ((40, 25, 60, 55), ((35, 64), (25, 54))),  # the longer side counts
        ((-10, -10, 10, 10), ((0, 9), (0, 9))),  # the border's pixels go on
        ((90, 70, 110, 90), ((90, 99), (70, 79))),
        ((-60, -60, 160, 140), ((0, 99), (0, 79))),
    ],
)
def test_the_crop_shows_what_the_box_says_at_the_borders_too(
    ramp: Image.Image,
    box: tuple[float, float, float, float],
    corners: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    side = int(max(box[2] - box[0], box[3] - box[1]))
    pixels = np.asarray(crop(ramp, Face(box, 1.0), side, margin=1.0))
    assert pixels.shape == (side, side, 3)
    for channel, (first, last) in enumerate(corners):
        values = pixels[..., channel]
        assert (values.min(), values.max()) == (first, last)


def test_the_margin_widens_the_box_about_its_centre(ramp: Image.Image) -> None:
    pixels = np.asarray(crop(ramp, Face((40, 30, 60, 50), 1.0), 30, margin=1.5))
    assert (pixels[..., 0].min(), pixels[..., 0].max()) == (35, 64)
    assert (pixels[..., 1].min(), pixels[..., 1].max()) == (25, 54)


def test_a_box_of_nothing_still_gives_an_image(ramp: Image.Image) -> None:
    assert crop(ramp, Face((10, 10, 10, 10), 1.0), 16).size == (16, 16)


# --- landmarks and alignment ----------------------------------------------------------------------


def test_the_landmarks_are_eyes_nose_and_mouth(detector: Detector, astronaut: Image.Image) -> None:
    places = detector.faces(astronaut)[0].landmarks
    expected = ((205, 101), (246, 103), (225, 129), (201, 139), (245, 141))
    assert np.abs(np.array(places) - expected).max() < 3


def test_landmarks_of_a_mirrored_image_add_up_to_its_width(
    detector: Detector, astronaut: Image.Image
) -> None:
    here = np.array(detector.faces(astronaut)[0].landmarks)
    there = np.array(detector.faces(ImageOps.mirror(astronaut))[0].landmarks)[[1, 0, 2, 4, 3]]
    assert abs(np.median(here[:, 0] + there[:, 0]) - 512) < 1


def placed(landmarks: object, image: tuple[int, int], width: int = CELEBA_SIZE[0]) -> Placement:
    points: list[Point] = [(float(x), float(y)) for x, y in np.asarray(landmarks)]
    placement = place(points, image, width)
    assert placement is not None
    return placement


def moved(known: SimilarityTransform) -> np.ndarray:
    """Return where CelebA's landmarks go."""
    return np.asarray(known(np.array(CELEBA_LANDMARKS)))


def on_canvas(image: Image.Image, known: SimilarityTransform, size: tuple[int, int]) -> Image.Image:
    """Return an image transformed; its border's pixels go on."""
    half = AffineTransform(translation=(0.5, 0.5)), AffineTransform(translation=(-0.5, -0.5))
    inverse = half[0] + AffineTransform(matrix=known.inverse.params) + half[1]
    pixels = warp(np.asarray(image), inverse, output_shape=size[::-1], order=3, mode="edge")
    return Image.fromarray((pixels * 255).round().clip(0, 255).astype(np.uint8))


def psnr(one: Image.Image, other: Image.Image, border: int = 4) -> float:
    inside = slice(border, -border)
    difference = np.asarray(one)[inside, inside].astype(float) - np.asarray(other)[inside, inside]
    return 10 * math.log10(255**2 / np.square(difference).mean())


@pytest.mark.parametrize("width", [89, 178, 356])
def test_a_face_that_is_framed_already_stays_where_it_is(width: int) -> None:
    placement = placed(CELEBA_LANDMARKS, CELEBA_SIZE, width)
    assert placement.size == (width, width * 109 // 89)
    assert placement.scale == pytest.approx(width / 178)
    assert placement.outside == 0
    corners = np.array([(0, 0), CELEBA_SIZE])
    assert placement.transform(corners) == pytest.approx(np.array([(0, 0), placement.size]))


def test_a_turned_and_scaled_face_is_brought_back(astronaut: Image.Image) -> None:
    original = astronaut.crop((130, 5, 308, 223))
    known = SimilarityTransform(scale=2.5, rotation=math.radians(30), translation=(400, 100))
    canvas = on_canvas(original, known, (1000, 900))
    placement = placed(moved(known), canvas.size)
    assert placement.scale == pytest.approx(1 / 2.5)
    assert placement.outside == 0
    assert psnr(align(canvas, placement), original) > 36


def test_landmarks_in_one_place_are_no_face() -> None:
    assert place([(10.0, 10.0)] * 5, (100, 100), 178) is None


def test_the_share_outside_is_known() -> None:
    beyond = SimilarityTransform(translation=(-178 / 2, 0))
    assert placed(moved(beyond), CELEBA_SIZE).outside == pytest.approx(0.5)
    corner = SimilarityTransform(translation=(-178 / 2, 218 / 2))
    assert placed(moved(corner), CELEBA_SIZE).outside == pytest.approx(0.75)
    assert placed(moved(SimilarityTransform(translation=(999, 0))), CELEBA_SIZE).outside == 1


def test_beyond_the_image_its_border_is_repeated() -> None:
    columns = np.arange(CELEBA_SIZE[0], dtype=np.uint8)
    ramp = Image.fromarray(np.tile(columns[None, :, None], (CELEBA_SIZE[1], 1, 3)))
    for shift in (-60, 60, 400):
        known = SimilarityTransform(translation=(shift, 0))
        pixels = np.asarray(align(ramp, placed(moved(known), ramp.size)))[..., 0]
        expected = np.clip(columns.astype(int) + shift, 0, 177)
        assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("scale", [1.5, 3, 10])
def test_a_large_face_is_shrunk_without_aliasing(scale: float) -> None:
    """Stripes finer than the crop can show come out grey, not as coarser stripes."""
    size = (round(CELEBA_SIZE[0] * scale), round(CELEBA_SIZE[1] * scale))
    stripes = np.zeros((size[1], size[0], 3), np.uint8)
    stripes[:, ::2] = 255
    known = SimilarityTransform(scale=scale)
    pixels = np.asarray(align(Image.fromarray(stripes), placed(moved(known), size)))
    assert np.abs(pixels[4:-4, 4:-4].astype(int) - 128).max() < 12


def test_celebas_own_images_come_back(detector: Detector, data_root: Path) -> None:
    """Enlarged, turned and put on a canvas, they are found, and framed as they were.

    The frame can't be the same to the pixel: no two faces are alike, and CelebA's landmarks were
    not ours. But on average nothing is shifted, turned or scaled.
    """
    known = SimilarityTransform(scale=1.7, rotation=math.radians(8), translation=(200, 120))
    corners = np.array([(0, 0), (178, 0), (0, 218), (178, 218)])
    frames, landmarks = [], []
    for file in sorted((data_root / "celeba" / "test").glob("*.jpg"))[:8]:
        with Image.open(file) as half:
            original = half.convert("RGB").resize(CELEBA_SIZE, Image.Resampling.BICUBIC)
        canvas = on_canvas(original, known, (700, 640))
        exact = align(canvas, placed(moved(known), canvas.size))
        assert psnr(exact, original) > 36
        found = placed(detector.faces(canvas)[0].landmarks, canvas.size)
        frames.append(found.transform(known(corners)) - corners)
        landmarks.append(detector.faces(align(canvas, found))[0].landmarks)
    assert np.linalg.norm(frames, axis=-1).mean() < 8
    assert np.linalg.norm(np.mean(frames, axis=0), axis=-1).max() < 3
    away = np.linalg.norm(np.mean(landmarks, axis=0) - CELEBA_LANDMARKS, axis=-1)
    assert away[[0, 1, 3, 4]].max() < 1.5
    assert away[2] < 3  # noses follow the turn of a head
