"""Faces are found, upscaled by a model of faces, and pasted without a border."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from skimage.filters import gaussian
from srkit_restore.frames import USUAL_SIDE, Frame, framed, outside
from srkit_restore.restore import FaceRestorer
from torch import nn

from srkit import registry
from srkit.faces.align import CELEBA_LANDMARKS, detector
from srkit.hookspecs import Face
from srkit.imaging import codec
from srkit.inference import arrays
from srkit.inference.model import Model, Settings
from srkit.models.load import load

# The astronaut's head in scikit-image's image, and in half of that, her box and landmarks.
HEAD = (100, 0, 340, 240)
SIDE = 120
BOX = (42.5, 30.0, 80.5, 81.5)
LANDMARKS = ((52.5, 50.5), (73.0, 51.5), (62.5, 64.5), (50.5, 69.5), (72.5, 70.5))


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    whole = Image.fromarray(skimage.data.astronaut())
    return np.array(whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=HEAD))


@pytest.fixture(scope="module")
def lanczos() -> Model:
    return load("lanczos", device="cpu")


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load("faces", device="cpu")


@pytest.fixture(scope="module")
def tinted() -> Model:
    """A model whose faces are others than the image's, at less than the shipped one's cost."""
    tint = torch.tensor([0.3, 0.0, 0.1])[:, None, None]
    return Model("tinted", Changed(lambda sr: sr * 0.5 + tint), 4)


class FixedDetector:
    """A detector that always returns the same faces."""

    def __init__(self, *faces: Face) -> None:
        self.fixed = list(faces)

    def faces(self, image: Image.Image) -> list[Face]:
        return self.fixed


def restorer_of(model: Model, *faces: Face, **options: Any) -> FaceRestorer:
    restorer = FaceRestorer(model, **options)
    restorer.detector = FixedDetector(*faces)  # type: ignore[assignment]
    return restorer


def test_a_face_that_is_skipped_stays_as_it_is(head: np.ndarray, lanczos: Model) -> None:
    restorer = restorer_of(lanczos, Face(BOX, 1.0, LANDMARKS))
    sr = np.zeros((4 * SIDE, 4 * SIDE, 3), np.uint8)
    (face,) = restorer.restore(head, sr, scale=4, skip={0})
    assert (face.restored, face.note) == (False, "a face was left as it is, as chosen")
    assert not sr.any()
    restorer.restore(head, sr, scale=4)
    assert sr.any()


def turned(angle: float) -> Face:
    """Return the astronaut's face in her image, turned clockwise about its centre."""
    radians, middle = math.radians(angle), SIDE / 2
    cos, sin = math.cos(radians), math.sin(radians)

    def at(x: float, y: float) -> tuple[float, float]:
        x, y = x - middle, y - middle
        return middle + cos * x - sin * y, middle + sin * x + cos * y

    x, y = at((BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2)
    half = (BOX[3] - BOX[1]) / 2
    return Face((x - half, y - half, x + half, y + half), 1.0, tuple(at(*p) for p in LANDMARKS))


def turn(pixels: np.ndarray, angle: float) -> np.ndarray:
    return np.array(Image.fromarray(pixels).rotate(-angle, Image.Resampling.BICUBIC))


def deep(pixels: np.ndarray) -> np.ndarray:
    """Return 16 bits, the lower eight of which aren't empty."""
    noise = np.random.default_rng(0).integers(-128, 128, pixels.shape)
    return (pixels.astype(int) * 257 + noise).clip(0, 65535).astype(np.uint16)


def general(model: Model, lr: np.ndarray, scale: float = 4) -> np.ndarray:
    values = model.upscale_values(arrays.to_values(lr[None]), Settings())
    made = np.empty((*values.shape[2:], 3), lr.dtype)
    arrays.to_pixels(values, made[None])
    size = round(lr.shape[1] * scale), round(lr.shape[0] * scale)
    return np.array(arrays.resized(made, size))


def within(frame: Frame, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Return how far each SR pixel is within the frame, in its sides; negative is beyond."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    places = np.stack([(x + 0.5) / scale, (y + 0.5) / scale], axis=-1).reshape(-1, 2)
    away = np.abs(frame.to_image().inverse(places)).max(axis=1)
    return (0.5 - away).reshape(shape[:2])


class Changed(nn.Module):
    """Lanczos, and then something else."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.lanczos, self.change = load("lanczos", device="cpu").generator, change
        self.receptive_radius = 3

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.change(self.lanczos(lr))
        return made


# --- finding -------------------------------------------------------------------------------------


def test_an_image_without_faces_stays_as_it_is(shipped: Model) -> None:
    lr = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    sr = lr.repeat(4, axis=0).repeat(4, axis=1)
    before = sr.copy()
    restorer = FaceRestorer(shipped)
    assert restorer.restore(lr, sr, scale=4) == []
    assert restorer.crops(lr) == []
    assert (sr == before).all()


def test_every_face_is_restored(tinted: Model, lanczos: Model, head: np.ndarray) -> None:
    lr = np.hstack([head, head[:, ::-1]])
    sr = general(lanczos, lr)
    before = sr.copy()
    faces = FaceRestorer(tinted).restore(lr, sr, scale=4)
    assert [(face.restored, face.note) for face in faces] == [(True, "")] * 2
    assert all(40 < face.size < 60 and face.probability > 0.9 for face in faces)
    assert sorted(face.box[0] > 120 for face in faces) == [False, True]
    for half in (slice(0, 480), slice(480, 960)):
        assert (sr[:, half] != before[:, half]).any()


@pytest.mark.parametrize("noise", [pytest.param(0.0, marks=pytest.mark.long), 0.02])
def test_the_astronauts_face_gets_nearer_to_the_original(
    shipped: Model, lanczos: Model, noise: float
) -> None:
    left, top, right, bottom = HEAD
    hr = skimage.data.astronaut()[top:bottom, left:right]
    degrade = registry.build_scaled("degradations", "faces-x4", 4, {"noise": noise})
    lr_tensor = degrade(codec.to_tensor(Image.fromarray(hr)), seeds=torch.tensor([0]))
    lr = codec.to_uint8(lr_tensor)[0].permute(1, 2, 0).numpy()
    without = general(lanczos, lr)
    sr = without.copy()
    FaceRestorer(shipped).restore(lr, sr, scale=4)
    left, top, right, bottom = (int(side * 2) for side in BOX)
    original = hr[top:bottom, left:right].astype(float)
    errors = [np.square(image[top:bottom, left:right] - original).mean() for image in (without, sr)]
    assert 10 * math.log10(errors[0] / errors[1]) > 1  # dB


def test_small_and_unlikely_faces_are_left_out(shipped: Model, head: np.ndarray) -> None:
    sr = head.repeat(2, axis=0).repeat(2, axis=1)
    before = sr.copy()
    assert FaceRestorer(shipped, min_size=60).restore(head, sr, scale=2) == []
    assert FaceRestorer(shipped, confidence=1.1).restore(head, sr, scale=2) == []
    assert (sr == before).all()


def test_a_large_face_is_left_as_it_is(shipped: Model, head: np.ndarray) -> None:
    sr = head.copy()
    restorer = restorer_of(shipped, turned(0), max_size=50)
    (face,) = restorer.restore(head, sr, scale=1)
    assert (face.restored, round(face.size)) == (False, 52)
    assert face.note == (
        "a face of 52 pixels was left as it is: the model of faces is for those of up to 50"
    )
    assert restorer.crops(head) == []
    assert (sr == head).all()


def test_a_large_image_is_searched_in_a_smaller_one(
    head: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.fromarray(head).resize((480, 480), Image.Resampling.BICUBIC)
    searched: list[tuple[tuple[int, int], float]] = []
    from srkit_facenet.detector import Detector

    search = Detector._search

    def noted(self: Detector, image: Image.Image, least: float) -> list[Face]:
        searched.append((image.size, least))
        return search(self, image, least)

    monkeypatch.setattr(Detector, "_search", noted)
    (whole,) = detector().faces(image)
    (face,) = detector(max_pixels=160 * 160).faces(image)
    assert searched == [((480, 480), 20), ((160, 160), 12)]
    assert np.abs(np.array(face.box) - whole.box).max() < 15
    assert np.abs(np.array(face.landmarks) - whole.landmarks).max() < 6
    # MTCNN would upscale what is below its window, and look at more pixels again.
    searched.clear()
    detector(min_size=8, max_pixels=160 * 160).faces(image.resize((120, 120)))
    assert searched == [((120, 120), pytest.approx(9))]


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0, 20, 40, 90, 180, -100])
def test_the_frame_is_turned_as_the_face_is(angle: float) -> None:
    upright, frame = framed(turned(0), (SIDE, SIDE)), framed(turned(angle), (SIDE, SIDE))
    apart = math.degrees(frame.angle - upright.angle) - angle
    assert (apart + 180) % 360 - 180 == pytest.approx(0, abs=0.1)
    assert frame.side == pytest.approx(upright.side)
    assert frame.quarters == round(angle / 90) % 4
    assert framed(Face((36, 66, 142, 180), 1, CELEBA_LANDMARKS), (178, 218)) == Frame(
        pytest.approx(89), pytest.approx(109), pytest.approx(178), pytest.approx(0)
    )


@pytest.mark.parametrize(
    "landmarks",
    [
        (),
        ((60.0, 55.0),) * 5,  # in one place
        tuple((60 + (x - 60) / 9, 55 + (y - 55) / 9) for x, y in LANDMARKS),
        tuple((x + 45, y) for x, y in LANDMARKS),  # beside the box
    ],
)
def test_landmarks_that_make_no_sense_give_way_to_the_box(landmarks: Any) -> None:
    frame = framed(Face(BOX, 1.0, landmarks), (SIDE, SIDE))
    assert frame == Frame(61.5, pytest.approx(55.75 - 0.145 * 51.5), 51.5 * USUAL_SIDE, 0.0)
    # It is about where the landmarks that do make sense would put it.
    proper = framed(Face(BOX, 1.0, LANDMARKS), (SIDE, SIDE))
    assert math.hypot(proper.x - frame.x, proper.y - frame.y) < 0.1 * proper.side
    assert frame.side == pytest.approx(proper.side, rel=0.15)


def test_the_network_sees_an_upright_face_and_its_mirrored_twin(head: np.ndarray) -> None:
    head = 80 + head // 3  # what is added isn't cut off at black and white
    seen = []

    def change(sr: torch.Tensor) -> torch.Tensor:
        seen.append(sr)
        return sr + torch.linspace(-0.1, 0.1, sr.shape[-1])

    strange = Changed(change)
    strange.receptive_radius = SIDE  # the whole image is context
    expected = strange.lanczos(torch.from_numpy(arrays.to_values(head[None])))
    for quarters in (0, 1, 2, 3):
        # numpy turns against the clock.
        restorer = restorer_of(Model("strange", strange, 4), turned(-90 * quarters + 10))
        (crop,) = restorer.crops(np.ascontiguousarray(np.rot90(head, quarters)))
        (upright,), (mirrored,) = seen
        seen.clear()
        assert torch.allclose(upright, expected[0], atol=1e-5)
        assert torch.allclose(mirrored, expected[0].flip(2), atol=1e-5)
        # What the model adds to the right of both isn't in their mean.
        (plain,) = restorer_of(load("lanczos", device="cpu"), turned(10)).crops(head)
        assert np.abs(crop.astype(int) - plain).max() <= 2


# --- pasting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("angle", "bits", "scale"),
    [(0, 8, 4), (20, 16, 4), (90, 16, 3), (180, 8, 2.5), (20, 8, 2.5), (180, 16, 4)],
)
def test_the_same_model_pasted_changes_nothing(
    lanczos: Model, head: np.ndarray, angle: float, bits: int, scale: float
) -> None:
    lr = turn(head, angle) if bits == 8 else deep(turn(head, angle))
    sr = general(lanczos, lr, scale)
    before = sr.copy()
    (face,) = restorer_of(lanczos, turned(angle)).restore(lr, sr, scale=scale)
    assert face.restored
    apart = np.abs(sr.astype(int) - before.astype(int)) / np.iinfo(lr.dtype).max
    # At another scale, the general result came about by Lanczos, the face by bicubic.
    assert apart.max() < ({8: 1.01 / 255, 16: 3.01 / 65535}[bits] if scale == 4 else 0.05)
    assert apart.mean() < (2e-5 if scale == 4 else 1e-3)


def test_a_detected_face_of_the_same_model_changes_nothing(
    lanczos: Model, head: np.ndarray
) -> None:
    lr = turn(head, 20)
    sr = general(lanczos, lr)
    before = sr.copy()
    (face,) = FaceRestorer(lanczos).restore(lr, sr, scale=4)
    assert face.restored
    assert np.abs(sr.astype(int) - before.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("angle", "bits", "scale"), [(0, 16, 4), (20, 8, 4), (45, 16, 2.5), (180, 8, 2.5)]
)
def test_nothing_is_touched_outside_of_the_frame_and_its_edge_has_no_border(
    lanczos: Model, head: np.ndarray, angle: float, bits: int, scale: float
) -> None:
    """Even where a model returns something quite different, in colours and in detail."""

    def change(sr: torch.Tensor) -> torch.Tensor:
        rows, columns = (torch.arange(n) for n in sr.shape[-2:])
        checks = ((rows[:, None] + columns) % 4 < 2).float() - 0.5
        return sr.flip(1) * 0.7 + 0.3 * checks

    lr = turn(head, angle) if bits == 8 else deep(turn(head, angle))
    sr = general(lanczos, lr, scale)
    before = sr.copy()
    strange = Model("strange", Changed(change), 4)
    face = turned(angle)
    restorer_of(strange, face).restore(lr, sr, scale=scale)
    inside = within(framed(face, (SIDE, SIDE)), sr.shape, scale)
    assert (sr[inside < 0] == before[inside < 0]).all()
    top = np.iinfo(lr.dtype).max
    apart = (sr.astype(float) - before) / top
    assert np.abs(apart[inside > 0.2]).mean() > 0.03  # it is another image there
    edge = (inside > 0) & (inside < 0.01)
    assert np.abs(apart[edge]).max() < 0.01
    # Nor are there steps from pixel to pixel that weren't there before, as far as the mask fades.
    near = (inside[:, 1:] > -0.02) & (inside[:, 1:] < 0.02)
    steps = np.abs(np.diff(apart, axis=1))[near]
    assert steps.max() < 0.03


def test_colours_follow_the_image(lanczos: Model, tinted: Model, head: np.ndarray) -> None:
    sr = general(lanczos, head)
    before = sr.copy()
    restorer_of(tinted, turned(0)).restore(head, sr, scale=4)
    apart = np.abs(gaussian(sr.astype(float) - before, 12, channel_axis=-1))
    assert apart.max() < 3  # of the 40 to 70 that the tint makes
    assert (sr != before).mean() > 0.1


def test_an_image_of_one_colour_stays_one(shipped: Model) -> None:
    lr = np.full((SIDE, SIDE, 3), (200, 30, 90), np.uint8)
    sr = lr.repeat(4, axis=0).repeat(4, axis=1)
    restorer_of(shipped, turned(20)).restore(lr, sr, scale=4)
    assert np.abs(sr.astype(int) - (200, 30, 90)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_image_stays_grey(
    tinted: Model, lanczos: Model, head: np.ndarray, bits: int
) -> None:
    lr = head[..., 1:2].repeat(3, axis=2)
    lr = lr if bits == 8 else deep(lr[..., :1]).repeat(3, axis=2)
    sr = general(lanczos, lr)
    before = sr.copy()
    restorer = restorer_of(tinted, turned(0))
    (face,) = restorer.restore(lr, sr, scale=4)
    assert face.restored
    assert (sr == sr[..., :1]).all()
    assert (sr != before).any()
    (crop,) = restorer.crops(lr)
    assert (crop == crop[..., :1]).all()


def test_sixteen_bits_are_more_than_eight(tinted: Model, lanczos: Model, head: np.ndarray) -> None:
    fine, coarse = head.astype(np.uint16) * 257, head.copy()
    sr = general(lanczos, fine)
    sr8 = general(lanczos, coarse)
    restorer_of(tinted, turned(0)).restore(fine, sr, scale=4)
    restorer_of(tinted, turned(0)).restore(coarse, sr8, scale=4)
    assert np.abs(sr / 257 - sr8).max() < 1.6  # levels of eight bits: both round
    assert (sr % 257 != 0).mean() > 0.9


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param((-55, 0), marks=pytest.mark.long),
        pytest.param((0, -45), marks=pytest.mark.long),
        (45, 50),
    ],
)
def test_a_face_cut_by_the_border_is_restored_within_the_image(
    shipped: Model, lanczos: Model, head: np.ndarray, moved: tuple[int, int]
) -> None:
    x, y = moved
    cut = head[max(0, -y) : SIDE - max(0, y), max(0, -x) : SIDE - max(0, x)]
    left, top = min(0, x), min(0, y)
    face = Face(
        (BOX[0] + left, BOX[1] + top, BOX[2] + left, BOX[3] + top),
        1.0,
        tuple((px + left, py + top) for px, py in LANDMARKS),
    )
    size = (cut.shape[1], cut.shape[0])
    assert 0.1 < outside(face, size) < 0.5
    sr = general(lanczos, cut)
    before = sr.copy()
    (result,) = restorer_of(shipped, face).restore(cut, sr, scale=4)
    assert result.restored
    inside = within(framed(face, size), sr.shape, 4)
    assert (sr[inside < 0] == before[inside < 0]).all()
    whole = general(shipped, cut)  # the border is the image's, as when it is upscaled whole
    painted = inside > 0.2
    detail = [p - gaussian(p * 1.0, 4, channel_axis=-1) for p in (sr, whole, before)]
    to_whole, to_before = (np.abs(detail[0] - other)[painted].mean() for other in detail[1:])
    assert to_whole < to_before / 2
    same = general(lanczos, cut)
    restorer_of(lanczos, face).restore(cut, same, scale=4)
    assert np.abs(same.astype(int) - before).max() <= 1
    (crop,) = restorer_of(shipped, face).crops(cut)
    assert crop.shape[0] == crop.shape[1] == round(framed(face, size).side * 4)


def test_a_face_mostly_outside_is_left_as_it_is(shipped: Model, head: np.ndarray) -> None:
    face = Face((-35, 30, 3, 81), 1.0, tuple((x - 77, y) for x, y in LANDMARKS))
    sr = head.copy()
    restorer = restorer_of(shipped, face)
    (result,) = restorer.restore(head, sr, scale=1)
    assert not result.restored
    assert result.note == "a face was left as it is: 92% of it lies outside of the image"
    assert (sr == head).all()
    assert restorer.crops(head) == []


def test_faces_may_overlap(shipped: Model, lanczos: Model, head: np.ndarray) -> None:
    large = turned(0)
    small = Face(
        (75 + BOX[0] / 3, 45 + BOX[1] / 3, 75 + BOX[2] / 3, 45 + BOX[3] / 3),
        0.95,
        tuple((75 + x / 3, 45 + y / 3) for x, y in LANDMARKS),
    )
    same = general(lanczos, head)
    before = same.copy()
    restorer_of(lanczos, large, small).restore(head, same, scale=4)
    assert np.abs(same.astype(int) - before).max() <= 2

    first, both = before.copy(), before.copy()
    restorer_of(shipped, large).restore(head, first, scale=4)
    restorer_of(shipped, large, small).restore(head, both, scale=4)
    inside = within(framed(small, (SIDE, SIDE)), both.shape, 4)
    assert (within(framed(large, (SIDE, SIDE)), both.shape, 4)[inside > 0] > 0).any()  # they meet
    assert (both[inside < 0] == first[inside < 0]).all()
    assert (both[inside > 0.2] != first[inside > 0.2]).any()
    edge = (inside > 0) & (inside < 0.01)
    assert np.abs(both.astype(int) - first)[edge].max() <= 1


def test_only_the_frame_takes_memory(lanczos: Model) -> None:
    lr = np.zeros((1500, 1500, 3), np.uint8)
    sr = np.zeros((6000, 6000, 3), np.uint8)  # 108 MB
    restorer = restorer_of(lanczos, turned(0))
    tracemalloc.start()
    try:
        restorer.restore(lr, sr, scale=4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6


def test_images_that_do_not_belong_together_are_an_error(lanczos: Model, head: np.ndarray) -> None:
    restorer = restorer_of(lanczos, turned(0))
    with pytest.raises(ValueError, match="upscaled by 4"):
        restorer.restore(head, head.copy(), scale=4)
    with pytest.raises(ValueError, match="uint16"):
        restorer.restore(head, deep(head), scale=1)


# --- faces alone ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("angle", "bits"), [(0, 16), (20, 8), (90, 8), (180, 16)])
def test_crops_are_upright(lanczos: Model, head: np.ndarray, angle: float, bits: int) -> None:
    lr = turn(head, angle) if bits == 8 else deep(turn(head, angle))
    (crop,) = restorer_of(lanczos, turned(angle)).crops(lr)
    (upright,) = restorer_of(lanczos, turned(0)).crops(head)
    frame = framed(turned(0), (SIDE, SIDE))
    assert crop.dtype == lr.dtype
    assert crop.shape == upright.shape == (round(frame.side * 4),) * 2 + (3,)
    apart = crop / np.iinfo(crop.dtype).max - upright / 255
    # A turn by another angle than a quarter is bicubic, on one side before it was upscaled.
    assert math.sqrt(np.square(apart).mean()) < (0.03 if angle % 90 else 0.005)


def test_a_found_face_is_framed_as_the_model_learned_it(lanczos: Model, head: np.ndarray) -> None:
    """What comes out has its landmarks where CelebA's centre squares have them."""
    (crop,) = FaceRestorer(lanczos).crops(turn(head, 20))
    (face,) = detector(min_size=80).faces(Image.fromarray(crop))
    expected = (np.array(CELEBA_LANDMARKS) - (0, 20)) / 178
    assert np.abs(np.array(face.landmarks) / len(crop) - expected).max() < 0.05


def test_beyond_the_image_a_crop_repeats_its_border(lanczos: Model, head: np.ndarray) -> None:
    cut = head[35:]
    face = Face((42, -5, 80, 46), 1.0, tuple((x, y - 35) for x, y in LANDMARKS))
    frame = framed(face, (SIDE, SIDE - 35))
    (crop,) = restorer_of(lanczos, face).crops(cut)
    lacking = round((frame.side / 2 - frame.y) * 4)
    assert lacking > 50
    middle = crop[: lacking - 20, len(crop) // 3 : len(crop) // 2].astype(int)
    assert np.abs(np.diff(middle, axis=0)).max() <= 12  # only as the frame is a little turned
    assert np.ptp(middle, axis=1).max() > 20


def test_the_key_has_all_that_decides_a_result(shipped: Model) -> None:
    assert FaceRestorer(shipped, min_size=9, confidence=0.8).key() == {
        "model": shipped.sha256,
        "min_size": 9,
        "confidence": 0.8,
        "max_size": 256,
    }
