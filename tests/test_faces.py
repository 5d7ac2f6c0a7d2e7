"""Finding a face, and cropping it."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageOps

from srkit.faces import MARGIN, Detector, Face, crop

# Where her face is in scikit-image's astronaut (512x512): between hairline and chin, ear to ear.
CENTRE = (222, 110)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


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


def test_a_mirrored_face_is_found_where_it_is(detector: Detector, astronaut: Image.Image) -> None:
    x, y = centre(detector.faces(ImageOps.mirror(astronaut))[0])
    assert (512 - x, y) == pytest.approx(CENTRE, abs=15)


def test_a_grey_picture_has_a_face_too(detector: Detector, astronaut: Image.Image) -> None:
    assert centre(detector.faces(astronaut.convert("L"))[0]) == pytest.approx(CENTRE, abs=15)


def test_noise_has_no_face(detector: Detector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    assert detector.faces(Image.fromarray(noise)) == []


@pytest.mark.parametrize("size", [(64, 64), (30, 20), (300, 25)])
def test_an_empty_or_small_picture_has_no_face(detector: Detector, size: tuple[int, int]) -> None:
    assert detector.faces(Image.new("RGB", size, (128, 128, 128))) == []


def test_a_picture_of_a_few_pixels_has_no_face(detector: Detector) -> None:
    assert detector.faces(Image.new("RGB", (5, 4))) == []


def test_least_size_and_confidence_leave_faces_out(astronaut: Image.Image) -> None:
    assert Detector(least=300).faces(astronaut) == []
    assert Detector(confidence=1.1).faces(astronaut) == []


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


def test_a_box_of_nothing_still_gives_a_picture(ramp: Image.Image) -> None:
    assert crop(ramp, Face((10, 10, 10, 10), 1.0), 16).size == (16, 16)
