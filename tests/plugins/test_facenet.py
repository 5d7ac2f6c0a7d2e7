"""FaceNet as a referee and as a loss, with the real weights where there are any."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from mutations import Trap
from safetensors.torch import save_file
from srkit_facenet import embedder
from srkit_facenet.embedder import FaceNet
from srkit_facenet.losses import IdentityLoss
from torch import Tensor, nn

from srkit import OptionError, files, load, registry, train

from .conftest import refusal, require_closer


@pytest.fixture(scope="module")
def weights(data_root: Path) -> Path:
    return data_root / "weights" / "facenet-casia-webface.pt"


@pytest.fixture(scope="module")
def facenet(weights: Path) -> FaceNet:
    """Of the weights that the environment names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRKIT_FACENET_WEIGHTS", str(weights))
        made: FaceNet = registry.build("embedders", "facenet")
    return made


def test_the_same_person_is_closer_than_any_other(facenet: FaceNet, faces: Tensor) -> None:
    assert require_closer(facenet(faces)) < 0.7


def test_it_says_whose_weights_it_has(facenet: FaceNet, weights: Path) -> None:
    assert facenet.name == "facenet (facenet-casia-webface)"
    assert facenet.sha256 == files.sha256(weights)


def test_the_size_of_faces_is_its_own_business(facenet: FaceNet, faces: Tensor) -> None:
    larger = nn.functional.interpolate(
        faces[:2], size=(160, 160), mode="bilinear", align_corners=False
    )
    assert torch.allclose(facenet(larger), facenet(faces[:2]), atol=1e-5)


def test_values_beyond_the_range_are_clamped(facenet: FaceNet, faces: Tensor) -> None:
    loud = (faces[:1] - 0.5) * 3 + 0.5
    assert torch.equal(facenet(loud), facenet(loud.clamp(0, 1)))


def test_it_never_trains(facenet: FaceNet) -> None:
    assert not any(module.training for module in facenet.train().modules())
    assert not any(weight.requires_grad for weight in facenet.parameters())


def test_weights_may_be_safetensors(
    tmp_path: Path, weights: Path, facenet: FaceNet, faces: Tensor
) -> None:
    state = torch.load(weights, weights_only=True)
    state = {key: value.contiguous() for key, value in state.items()}
    # facenet-pytorch's own files have the classifier of the training set's people as well.
    state |= {"logits.weight": torch.ones(10, 512), "logits.bias": torch.ones(10)}
    save_file(state, tmp_path / "plain.safetensors")
    fresh = FaceNet(weights=str(tmp_path / "plain.safetensors"))
    assert torch.equal(fresh(faces[:1]), facenet(faces[:1]))
    torch.save(state, tmp_path / "plain.pt")
    fresh = FaceNet(weights=str(tmp_path / "plain.pt"))
    assert torch.equal(fresh(faces[:1]), facenet(faces[:1]))


# --- as facenet-pytorch computes it ---------------------------------------------------------------


@pytest.fixture(scope="module")
def random_state() -> dict[str, Tensor]:
    """Weights of the right shapes, batch normalisation's moved off the identity."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = InceptionResnetV1(pretrained=None).state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    return state


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, random_state: dict[str, Tensor]
) -> tuple[FaceNet, nn.Module]:
    """Ours, and facenet-pytorch's own network with the same weights."""
    file = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save(random_state, file)
    plain = InceptionResnetV1(pretrained=None).eval().requires_grad_(False)
    plain.load_state_dict(random_state)
    return FaceNet(weights=str(file)), plain


def plainly(network: nn.Module, faces: Tensor) -> Tensor:
    large = nn.functional.interpolate(faces, size=(160, 160), mode="bilinear", align_corners=False)
    embedding: Tensor = network((large * 255 - 127.5) / 128)
    return embedding


def test_being_faster_changes_no_embedding(
    pair: tuple[FaceNet, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, plain = pair
    images = torch.rand(5, 3, 48, 48)
    expected = plainly(plain, images)
    assert torch.allclose(ours(images), expected, atol=1e-5, rtol=0)
    monkeypatch.setattr(embedder, "AT_ONCE", 2)
    assert torch.allclose(ours(images), expected, atol=1e-5, rtol=0)


@pytest.mark.long
def test_being_faster_changes_no_gradient(
    pair: tuple[FaceNet, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "AT_ONCE", 2)
    # In float64: in float32 rounding may switch single ReLUs, and so whole parts of a gradient.
    ours, plain = (copy.deepcopy(network).double() for network in pair)
    gradients = []
    for embed in (ours, partial(plainly, plain)):
        images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(1)).double()
        images.requires_grad_()
        embed(images)[:, ::7].sum().backward()
        assert images.grad is not None
        gradients.append(images.grad)
    one, other = gradients
    assert one.abs().max() > 0
    assert (one - other).norm() < 1e-10 * other.norm()


def test_its_weights_keep_their_names_and_values(
    pair: tuple[FaceNet, nn.Module], random_state: dict[str, Tensor]
) -> None:
    ours = pair[0].network.state_dict()
    assert ours.keys() == random_state.keys()
    assert all(torch.equal(ours[key], value) for key, value in random_state.items())
    pair[0].network.load_state_dict(random_state)


def test_the_same_values_are_known_in_any_file(
    tmp_path: Path, random_state: dict[str, Tensor], pair: tuple[FaceNet, nn.Module]
) -> None:
    state = {key: value.contiguous() for key, value in random_state.items()}
    file = tmp_path / "same.safetensors"
    save_file(state, file)
    same = FaceNet(weights=str(file))
    assert same.values_sha256 == pair[0].values_sha256
    assert same.sha256 != pair[0].sha256
    state["last_bn.bias"] = state["last_bn.bias"] + 1e-3
    save_file(state, file)
    assert FaceNet(weights=str(file)).values_sha256 != same.values_sha256


# --- the loss -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loss(weights: Path) -> IdentityLoss:
    made: IdentityLoss = registry.build("losses", "identity", weights=str(weights))
    return made


def test_the_loss_is_the_mean_squared_distance(
    loss: IdentityLoss, facenet: FaceNet, faces: Tensor
) -> None:
    a, b = faces[::2], faces[1::2]
    expected = (facenet(a) - facenet(b)).norm(dim=1).square().mean()
    assert loss(sr=a, hr=b).item() == pytest.approx(expected.item(), rel=1e-4)
    assert loss(sr=a, hr=faces[[2, 4, 0]]) > 2 * loss(sr=a, hr=b)


def test_the_loss_of_equal_images_is_zero(loss: IdentityLoss, faces: Tensor) -> None:
    assert loss(sr=faces, hr=faces).item() == pytest.approx(0, abs=1e-9)


def test_the_gradient_reaches_sr_alone(loss: IdentityLoss, faces: Tensor) -> None:
    sr, hr = faces[:1].clone().requires_grad_(), faces[1:2].clone().requires_grad_()
    loss(sr=sr, hr=hr).backward()
    assert hr.grad is None
    assert sr.grad is not None
    assert sr.grad.isfinite().all()
    assert sr.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in loss.parameters())
    stepped = (sr - 0.01 * sr.grad / sr.grad.norm()).detach()
    assert loss(sr=stepped, hr=hr) < loss(sr=sr, hr=hr)


def test_a_held_gradient_is_a_share_of_l1s_points_the_same_way_and_is_finite(
    weights: Path, loss: IdentityLoss, faces: Tensor
) -> None:
    held = registry.build("losses", "identity", weights=str(weights), gradient=0.4)
    sr, hr = faces[:2].clone().requires_grad_(), faces[2:4]
    (own,) = torch.autograd.grad(loss(sr=sr, hr=hr), sr)
    (gradient,) = torch.autograd.grad(3 * held(sr=sr, hr=hr), sr)
    (of_l1,) = torch.autograd.grad((sr - hr).abs().mean(), sr)
    assert held(sr=sr, hr=hr).item() == pytest.approx(loss(sr=sr, hr=hr).item(), rel=1e-5)
    # L1 has no gradient where two values are equal by chance.
    assert (gradient.norm() / of_l1.norm()).item() == pytest.approx(3 * 0.4, rel=0.05)
    torch.testing.assert_close(gradient / gradient.norm(), own / own.norm(), rtol=1e-3, atol=1e-5)
    sr = faces[:1].clone().requires_grad_()
    held(sr=sr, hr=faces[:1]).backward()  # of equal images
    assert sr.grad is not None
    assert sr.grad.isfinite().all()


def test_facenet_sees_the_middle_in_the_precision_asked_for(
    weights: Path, facenet: FaceNet, faces: Tensor
) -> None:
    build = partial(registry.build, "losses", "identity", weights=str(weights))
    a, b = faces[:1], faces[1:2]
    side = a.shape[-1]
    kept = round(0.5 * side)
    start = (side - kept) // 2
    middle = [x[..., start : start + kept, start : start + kept] for x in (a, b)]
    expected = (facenet(middle[0]) - facenet(middle[1])).square().sum().item()
    assert build(crop=0.5)(sr=a, hr=b).item() == pytest.approx(expected, rel=1e-4)
    assert build(crop=0.5, precision="bf16")(sr=a, hr=b).item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("options", [{"crop": 0.0}, {"crop": 1.5}, {"gradient": -1.0}])
def test_impossible_options_are_refused(weights: Path, options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        registry.build("losses", "identity", weights=str(weights), **options)


def test_a_short_run_of_its_recipe_trains(
    weights: Path, tmp_path: Path, crops: Callable[[Path, int, int], list[Path]]
) -> None:
    crops(tmp_path / "photos", 24, 96)
    changes = {"steps": 2, "batch_size": 2, "losses.identity.weights": str(weights)}
    recipe = registry.build("recipes", "faces-identity").changed(changes)
    result = train(recipe, data=tmp_path / "photos", out=tmp_path / "run", device="cpu")
    assert result.scores["psnr"] > result.scores["bicubic_psnr"] + 0.2
    embedders = load(tmp_path / "run", device="cpu").metadata["embedders"]
    assert embedders["identity"]["sha256"] == files.sha256(weights)


# --- weights that are none ----------------------------------------------------------------------


def refused(file: Path) -> str:
    message = refusal(FaceNet, str(file))
    assert str(file) in message
    return message


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    for name in ("none.pt", "none.safetensors", "vggface"):
        assert refused(tmp_path / name) == (
            f"FaceNet weights {tmp_path / name}: no such file; give one, or vggface2 or "
            "casia-webface"
        )


@pytest.mark.parametrize("name", ["text.pt", "text.safetensors"])
@pytest.mark.parametrize("content", [b"", b"weights, honestly\n", b"PK\x03\x04" + b"x" * 99])
def test_weights_that_are_no_weights(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "not a readable state_dict" in refused(tmp_path / name)


def test_a_folder_is_no_weights(tmp_path: Path) -> None:
    refused(tmp_path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_with_code_is_not_executed(tmp_path: Path, protocol: int) -> None:
    sprung = tmp_path / "sprung"
    file = tmp_path / "trap.pt"
    file.write_bytes(pickle.dumps({"weight": Trap(sprung)}, protocol=protocol))
    assert "not a readable state_dict" in refused(file)
    torch.save({"weight": Trap(sprung)}, file)
    assert "not a readable state_dict" in refused(file)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [[1, 2], {"weight": 3}, torch.ones(2)], ids=str)
def test_a_file_of_something_else(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert refused(tmp_path / "other.pt").endswith("not a state_dict")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_another_network(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"other{suffix}"
    state = {"conv.weight": torch.ones(3, 3)}
    if suffix == ".pt":
        torch.save(state, file)
    else:
        save_file(state, file)
    assert "don't fit Inception-ResNet-v1" in refused(file)


def test_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(embedder, "InceptionResnetV1", offline)
    monkeypatch.delenv("SRKIT_FACENET_WEIGHTS", raising=False)
    for name in ("", "vggface2", "casia-webface"):
        message = refusal(FaceNet, name)
        assert f"'{name or 'vggface2'}' can't be downloaded (ConnectionError)" in message
        assert "SRKIT_FACENET_WEIGHTS, or to verify by --embedder-weights FILE" in message
