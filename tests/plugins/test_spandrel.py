"""Networks of the community, with random weights: read, run, refused, and never executed."""

from __future__ import annotations

import copy
import pickle
import resource
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import spandrel
import torch
from mutations import Trap
from PIL import Image
from safetensors.torch import save_file
from spandrel.architectures import (
    ESRGAN,
    IPT,
    RCAN,
    SAFMN,
    SPAN,
    AuraSR,
    Compact,
    DnCNN,
    LaMa,
    SwinIR,
)
from srkit_onnx import conversion, export
from srkit_spandrel.generator import Community
from srkit_spandrel.reader import read
from torch import Tensor, nn

import srkit
from srkit import InputError
from srkit.testing import receptive_radius

Cli = Callable[..., tuple[int, str, str]]

SWIN = {"embed_dim": 24, "depths": [2], "num_heads": [2], "window_size": 8, "upscale": 2}
AURA = {"dim_in": 16, "dim_out": 64, "dim_text_latent": 0}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "compact": lambda: Compact.Compact(num_feat=8, num_conv=3, upscale=4),
    "esrgan": lambda: ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=4),
    "span": lambda: SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2),
    "rcan": lambda: RCAN.RCAN(n_resgroups=1, n_resblocks=1, n_feats=16, scale=2),
    "safmn": lambda: SAFMN.SAFMN(dim=12, n_blocks=1, upscaling_factor=2),
    "swinir": lambda: SwinIR.SwinIR(**SWIN, upsampler="pixelshuffle"),
    "ipt": lambda: IPT.IPT(patch_size=12, n_feats=8, scale=[2], num_heads=3, num_layers=1),
    "aurasr": lambda: AuraSR.AuraSR(
        dim=8, image_size=64, input_image_size=16, style_network=AURA, unconditional=True
    ),
}


SLOW = ("aurasr", "ipt")


def made(build: Callable[[], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of networks that are built here, not by a user
        return build().eval()


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Write the weights of a network, as its authors would."""

    def write(build: Callable[[], nn.Module], name: str = "net.pth") -> Path:
        torch.save({"params_ema": made(build).state_dict()}, tmp_path / name)
        return tmp_path / name

    return write


def taken(file: Path) -> Community:
    generator = read(file)
    assert generator is not None
    return generator


# --- the generators' contract -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.long if n in SLOW else ()) for n in NETWORKS],
)
def test_a_network_keeps_the_generators_contract(
    name: str, file: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model = srkit.load(file(NETWORKS[name]), device="cpu")
    generator, scale = model.generator, model.scale
    assert not generator.training
    with torch.inference_mode():
        for height, width in ((1, 1), (19, 26), (16, 16)):
            lr = torch.rand(2, 3, height, width)
            before = lr.clone()
            sr = generator(lr)
            assert sr.shape == (2, 3, scale * height, scale * width)
            assert sr.isfinite().all()
            assert torch.equal(lr, before)
            torch.rand(1)  # what others draw in the meantime makes no difference, nor do we to them
            state = torch.get_rng_state()
            assert torch.equal(generator(lr), sr)
            assert torch.equal(torch.get_rng_state(), state)
            alone = torch.cat([generator(one) for one in lr.split(1)])
            assert torch.allclose(alone, sr, atol=1e-4)
            layout = lr.contiguous(memory_format=torch.channels_last)
            assert torch.allclose(generator(layout), sr, atol=1e-4)
        assert torch.equal(copy.deepcopy(generator)(lr), sr)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["esrgan", "swinir", "safmn", "ipt"])
def test_it_gives_what_spandrel_itself_would(name: str, file: Callable[..., Path]) -> None:
    weights = file(NETWORKS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference: Any = spandrel.ModelLoader(device="cpu").load_from_file(weights)
    ours = taken(weights)
    for size in ((16, 16), (19, 26), (1, 40), (3, 3)):
        lr = torch.rand(1, 3, *size)
        with torch.inference_mode():
            assert torch.allclose(ours(lr).clamp(0, 1), reference(lr), atol=1e-5), size


def test_every_requirement_of_size_is_met_by_mirroring(file: Callable[..., Path]) -> None:
    generator = taken(file(NETWORKS["compact"]))
    generator.needs = spandrel.SizeRequirements(minimum=8, multiple_of=4, square=True)
    seen: list[Tensor] = []
    original = generator._call

    def watched(network: nn.Module, x: Tensor) -> Tensor:
        seen.append(x.clone())
        return original(network, x)

    generator._call = watched
    for size, side in (((2, 3), 8), ((9, 13), 16), ((16, 16), 16)):
        lr = torch.rand(1, 3, *size)
        assert generator(lr).shape[-2:] == (4 * size[0], 4 * size[1])
        given = seen.pop()
        assert given.shape[-2:] == (side, side)
        assert torch.equal(given[..., : size[0], : size[1]], lr)
        if size == (9, 13):
            assert torch.equal(given[..., :9, 13:16], lr[..., 9:12].flip(-1))
            assert torch.equal(given[..., 9:16, :13], lr[..., 1:8, :].flip(-2))
    assert torch.equal(given[..., 0], lr[..., 0])


@pytest.mark.parametrize("name", NETWORKS)
def test_no_memory_format_asked_for_breaks_it(name: str, file: Callable[..., Path]) -> None:
    generator = taken(file(NETWORKS[name]))
    lr = torch.rand(1, 3, 18, 21)
    with torch.inference_mode():
        sr = generator(lr)
        for layout in (torch.channels_last, torch.contiguous_format):
            generator.to(memory_format=layout)
            assert torch.allclose(generator(lr.contiguous(memory_format=layout)), sr, atol=1e-4)


def test_one_channel_is_run_for_each_colour(file: Callable[..., Path]) -> None:
    grey = taken(file(lambda: Compact.Compact(num_in_ch=1, num_out_ch=1, num_feat=4, num_conv=1)))
    assert grey.metadata["input_channels"] == 1
    lr = torch.rand(2, 3, 5, 7)
    with torch.inference_mode():
        sr = grey(lr)
        assert sr.shape == (2, 3, 20, 28)
        for colour in range(3):
            one = grey.network(lr[:, colour : colour + 1])
            assert torch.allclose(sr[:, colour : colour + 1], one, atol=1e-6)


def test_a_fourth_channel_is_opaque_alpha(file: Callable[..., Path]) -> None:
    four = taken(file(lambda: Compact.Compact(num_in_ch=4, num_out_ch=4, num_feat=4, num_conv=1)))
    lr = torch.rand(1, 3, 5, 7)
    with torch.inference_mode():
        sr = four(lr)
        assert sr.shape == (1, 3, 20, 28)
        opaque = four.network(torch.cat([lr, torch.ones(1, 1, 5, 7)], dim=1))
        assert torch.allclose(sr, opaque[:, :3], atol=1e-6)


@pytest.mark.parametrize("convolutions", [1, 4])
def test_the_radius_it_states_is_true(convolutions: int, file: Callable[..., Path]) -> None:
    network = taken(file(lambda: Compact.Compact(num_feat=4, num_conv=convolutions, upscale=2)))
    assert network.receptive_radius == convolutions + 2
    assert receptive_radius(network, scale=2) == convolutions + 2


def test_other_radii_are_not_guessed(file: Callable[..., Path]) -> None:
    assert taken(file(NETWORKS["esrgan"])).receptive_radius is None
    assert taken(file(NETWORKS["swinir"])).receptive_radius is None


def test_the_command_line_upscales_with_it(
    cli: Cli, file: Callable[..., Path], tmp_path: Path
) -> None:
    Image.fromarray(skimage.data.astronaut()[30:70, 200:250]).save(tmp_path / "face.png")
    weights = file(NETWORKS["esrgan"])
    status, _, err = cli("upscale", tmp_path / "face.png", "--model", weights)
    assert status == 0, err
    with Image.open(tmp_path / "face-x4.png") as image:
        assert image.size == (200, 160)
    status, out, err = cli("info", weights)
    assert (status, err) == (0, "")
    assert "ESRGAN" in out
    assert "8nf, 1nb" in out


def test_a_network_of_convolutions_can_be_exported(
    file: Callable[..., Path], tmp_path: Path
) -> None:
    model = srkit.load(file(compact(3, 3)), device="cpu")
    assert export.export(model, tmp_path / "out").difference < conversion.TOLERANCE


# --- what the file says -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        (None, "unknown"),
        ({"format": "pt"}, "unknown"),
        ({"license": "Apache-2.0"}, "Apache-2.0"),
        ({"license": "MIT", "modelspec.license": "CC-BY-4.0"}, "CC-BY-4.0"),
        ({"modelspec.license": ""}, "unknown"),
    ],
)
def test_the_licence_is_the_files(
    said: dict[str, str] | None, licence: str, tmp_path: Path
) -> None:
    weights = tmp_path / "net.safetensors"
    save_file(made(NETWORKS["compact"]).state_dict(), weights, said)
    model = srkit.load(weights, device="cpu")
    assert (model.scale, model.licence) == (4, licence)


def test_what_else_a_file_says_is_kept(tmp_path: Path) -> None:
    weights = tmp_path / "net.safetensors"
    said = {"modelspec.title": "Small", "modelspec.author": "Somebody", "other": "thing"}
    save_file(made(NETWORKS["compact"]).state_dict(), weights, said)
    metadata = srkit.load(weights, device="cpu").metadata
    assert metadata["architecture"] == "RealESRGAN Compact"
    assert metadata["tags"]
    assert (metadata["title"], metadata["author"]) == ("Small", "Somebody")
    assert metadata["reader"] == "spandrel"
    assert "other" not in metadata


# --- what is refused ----------------------------------------------------------------------------


def hostile(kind: str, file: Path, sprung: Path) -> None:
    trap = Trap(sprung)
    state = {**made(NETWORKS["compact"]).state_dict(), "extra": trap}
    if kind == "pickle":
        file.write_bytes(pickle.dumps(trap))
    elif kind == "protocol 0":
        file.write_bytes(pickle.dumps({"params": trap}, protocol=0))
    elif kind == "zip":
        torch.save(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".PTH"])
@pytest.mark.parametrize("kind", ["pickle", "protocol 0", "zip", "legacy"])
def test_a_hostile_pickle_is_one_line_and_nothing_is_executed(
    kind: str, suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights, sprung = tmp_path / f"net{suffix}", tmp_path / "sprung"
    hostile(kind, weights, sprung)
    with pytest.raises(InputError, match=r"nothing of it was run; ask for .*safetensors") as raised:
        srkit.load(weights)
    assert "\n" not in str(raised.value)
    assert not sprung.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["pickle", "zip"])
def test_the_trap_would_have_sprung(kind: str, tmp_path: Path) -> None:
    weights, sprung = tmp_path / "net.pth", tmp_path / "sprung"
    hostile(kind, weights, sprung)
    if kind == "pickle":
        pickle.loads(weights.read_bytes())
    else:
        torch.load(weights, weights_only=False)
    assert sprung.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"weights, honestly\n", b"PK\x03\x04" + bytes(200), pickle.dumps(np.float64(3))],
)
def test_what_is_no_file_of_weights_is_one_line(content: bytes, tmp_path: Path) -> None:
    weights = tmp_path / "net.pth"
    weights.write_bytes(content)
    with pytest.raises(InputError, match=r"net\.pth: damaged, or more than tensors") as raised:
        srkit.load(weights)
    assert "\n" not in str(raised.value)


def test_torchscript_is_a_program_and_is_not_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/constants.pkl", b"")
    with pytest.raises(InputError, match=r"net\.pt: TorchScript is a program and isn't run"):
        srkit.load(tmp_path / "net.pt")


def test_an_archive_that_unpacks_to_much_more_is_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data/0", bytes(8 << 20))
    with pytest.raises(InputError, match=r"net\.pth: unpacks to 8 MiB, more than twice its size"):
        srkit.load(tmp_path / "net.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"model.1.sub.0.RDB999999999.conv1.0.weight": torch.ones(1)},  # of a name that counts
        {"model.0.weight": torch.empty(10**9, 0, 3, 3)},  # of a shape without values
        {"model.0.weight": torch.ones(1).expand(10**5, 3, 3, 3)},  # of one value, many times
        {"model.1.sub.9998.weight": torch.ones(1)},
    ],
)
def test_a_network_larger_than_its_file_is_not_built(
    change: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({**made(NETWORKS["esrgan"]).state_dict(), **change}, tmp_path / "net.pth")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="spandrel can't build this network"):
        srkit.load(tmp_path / "net.pth")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB


@pytest.mark.parametrize("state", [{"weight": torch.ones(3)}, [torch.ones(3)], torch.ones(3), {}])
def test_a_network_that_spandrel_does_not_know(state: Any, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"net\.pth: .* nor a network spandrel knows"):
        srkit.load(tmp_path / "net.pth")
    save_file({"weight": torch.ones(3)}, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"safetensors, but not an srkit checkpoint, nor a netw"):
        srkit.load(tmp_path / "net.safetensors")


def test_weights_that_are_not_all_there(tmp_path: Path) -> None:
    state = made(NETWORKS["esrgan"]).state_dict()
    del state[next(key for key in state if "RDB1.conv2" in key)]
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"spandrel can't build this network: ") as raised:
        srkit.load(tmp_path / "net.pth")
    assert "\n" not in str(raised.value)


def compact(inputs: int, outputs: int, scale: int = 2) -> Callable[[], nn.Module]:
    return lambda: Compact.Compact(
        num_in_ch=inputs, num_out_ch=outputs, num_feat=4, num_conv=1, upscale=scale
    )


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (LaMa.LaMa, "LaMa fills in masked parts of images"),
        (DnCNN.DnCNN, "DnCNN restores images at their size"),
        (compact(3, 3, 1), "restores images at their size"),
        (compact(2, 2), "maps 2 channels to 2"),
        (compact(6, 6), "maps 6 channels to 6"),
    ],
    ids=["inpainting", "denoising", "x1", "2 channels", "6 channels"],
)
def test_a_network_that_does_something_else_is_one_line(
    build: Callable[[], nn.Module],
    said: str,
    file: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    weights = file(build)
    capfd.readouterr()
    with pytest.raises(InputError, match=said) as raised:
        srkit.load(weights)
    assert str(raised.value).startswith(str(weights))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_a_scale_that_is_no_whole_number_is_refused(
    file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = file(NETWORKS["esrgan"])
    known: Any = spandrel.ModelLoader(device="cpu").load_from_file(weights)
    for scale, said in ((1.5, "upscales by 1.5"), (0.5, "upscales by 0.5")):
        known.scale = scale
        monkeypatch.setattr("srkit_spandrel.reader._network", lambda file, state: known)
        with pytest.raises(InputError, match=f"{said}; srkit wants a whole number"):
            srkit.load(weights)


def test_files_of_other_kinds_and_srkits_own_are_not_the_readers(tmp_path: Path) -> None:
    from srkit import registry

    assert read(tmp_path / "none.png") is None
    assert read(registry.build("models", "faces").file) is None
    torn = tmp_path / "net.safetensors"
    torn.write_bytes(b"\xff" * 20)
    assert read(torn) is None


def test_warnings_of_building_a_network_stay_inside(
    file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = file(NETWORKS["compact"])
    original = spandrel.ModelLoader.load_from_state_dict

    def noisy(self: Any, state: dict[str, Tensor]) -> Any:
        warnings.warn("old, old, old", DeprecationWarning, stacklevel=1)
        print("some numbers")
        return original(self, state)

    monkeypatch.setattr(spandrel.ModelLoader, "load_from_state_dict", noisy)
    assert srkit.load(weights, device="cpu").scale == 4
    assert capfd.readouterr() == ("", "")
