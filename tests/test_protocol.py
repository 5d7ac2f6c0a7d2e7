"""Protocols as data, what decides the noise of an image, and which stamps may be compared."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from srkit_compare.comparison import differences
from torch import nn

from srkit import InputError, OptionError, registry, seeds
from srkit.evaluation.methods import references
from srkit.evaluation.protocol import DEFAULT, Protocol, encoded, fingerprint
from srkit.imaging import codec

Crops = Callable[[Path, int, int], list[Path]]
NAMES = sorted(registry.offers("protocols"))


@pytest.fixture(scope="module")
def photos(crops: Crops, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return crops(tmp_path_factory.mktemp("protocol") / "photos", 5, 70)


def stacked(protocol: Protocol, files: list[Path]) -> torch.Tensor:
    return torch.cat([protocol.hr(file) for file in files])


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_registered_protocol_is_whole_and_says_what_it_is(name: str, photos: list[Path]) -> None:
    protocol = Protocol.named(name)
    assert protocol.name == name
    assert protocol.description
    for metric in protocol.metrics:
        registry.offer("metrics", metric)
    hr = protocol.hr(photos[0])
    lr = protocol.degrade(hr)
    assert hr.shape[-1] == lr.shape[-1] * (protocol.scale if protocol.has_hr else 1)
    assert torch.equal(hr, codec.to_uint8(hr).float() / 255)
    assert torch.equal(lr, codec.to_uint8(lr).float() / 255)


def test_the_papers_protocol_is_the_default_and_states_what_defaults_are() -> None:
    assert DEFAULT == "paper"
    stated = Protocol.named("paper").model_dump()
    silent = Protocol().model_dump()
    assert stated.pop("description")
    silent.pop("description")
    options = {"kernel": "bicubic", "noise": 0.02}
    assert stated.pop("options") == options
    assert silent.pop("options") == {}
    assert stated == silent
    known = {o.name: o.default for o in registry.options("degradations", "faces-x4")}
    assert {name: known[name] for name in options} == options


def test_a_toml_file_is_a_protocol(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('framing = "square"\nborder = 4\n[options]\nnoise = 0.0\n')
    mine = Protocol.named(file)
    assert (mine.name, mine.framing, mine.border, mine.options) == (
        "mine",
        "square",
        4,
        {"noise": 0},
    )
    assert Protocol.named(file, seed=3).seed == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("framing = ", "Invalid value"),
        ('framing = "sqare"', "'framing' can't be 'sqare' (did you mean 'square'"),
        ("bordr = 4", "unknown key 'bordr' (did you mean 'border'?)"),
        ("border = -1", "'border' can't be -1: Input should be greater than or equal to 0"),
        ("size = 62", "size 62 is no multiple of scale 4"),
        ("size = 1_000_000_000", "size"),
        ('degradation = "face-x4"', "did you mean 'faces-x4'?"),
        ("[options]\nnoize = 0.1", "did you mean 'noise'?"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises((InputError, OptionError, registry.UnknownNameError)) as raised:
        Protocol.named(file)
    assert message in str(raised.value)
    assert "mine.toml" in str(raised.value)


def test_a_name_nobody_knows_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean 'paper'\?.*or give a \.toml file"):
        Protocol.named("papr")
    with pytest.raises(InputError, match=r"none\.toml"):
        Protocol.named(tmp_path / "none.toml")


# --- images -------------------------------------------------------------------------------------


def test_the_noise_is_the_images_own(photos: list[Path]) -> None:
    protocol = Protocol.named("paper")
    hr = stacked(protocol, photos)
    lr = protocol.degrade(hr)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(protocol.degrade(hr[order]), lr[order])
    assert torch.equal(torch.cat([protocol.degrade(one) for one in hr.split(1)]), lr)
    other = protocol.changed(seed=1).degrade(hr)
    assert not torch.equal(other, lr)
    clean = protocol.changed(options={"noise": 0.0}).degrade(hr)
    assert len({tuple(noise.flatten().tolist()) for noise in lr - clean}) == len(photos)


@given(level=st.integers(0, 255), seed=st.integers(0, 2**62 - 1))
def test_seeds_follow_from_8_bit_pixels_and_the_seed(level: int, seed: int) -> None:
    image = torch.full((1, 3, 4, 4), level / 255)
    first = seeds.of_images(image, seed)
    assert first.dtype == torch.int64
    assert first.item() >= 0
    assert torch.equal(seeds.of_images(image + 0.4 / 255, seed), first)
    assert not torch.equal(seeds.of_images(image, seed + 1), first)
    assert not torch.equal(seeds.of_images(image.flatten(2)[..., None], seed), first)
    changed = image.clone()
    changed[0, 2, 3, 3] = (level + 1) % 256 / 255
    assert not torch.equal(seeds.of_images(changed, seed), first)


def test_what_is_degraded_again_gets_the_same_noise(photos: list[Path]) -> None:
    protocol = Protocol.named("paper")
    hr = stacked(protocol, photos)
    assert torch.equal(protocol.redegrade(hr, hr), protocol.degrade(hr))
    darker = (hr - 20 / 255).clamp(0, 1)
    change = protocol.degrade(hr) - protocol.redegrade(darker, hr)
    assert change.mean().item() == pytest.approx(20 / 255, abs=0.01)
    assert change.std() < 0.01  # noise of its own would add 0.028


def test_whole_images_keep_their_size_cut_to_multiples(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (50, 35), (9, 8, 7)).save(tmp_path / "a.png")
    Image.new("RGB", (3, 35)).save(tmp_path / "b.png")
    protocol = Protocol.named("basicsr")
    assert protocol.hr(tmp_path / "a.png").shape == (1, 3, 32, 48)
    with pytest.raises(InputError, match=r"b\.png: too small to be made 4 times smaller"):
        protocol.hr(tmp_path / "b.png")


def by_matlab(image: np.ndarray, scale: int) -> np.ndarray:
    """Shrink ``HW`` as imresize does: a bicubic as wide as the scale, mirrored at the edges."""

    def matrix(length: int) -> np.ndarray:
        places = (np.arange(length // scale) + 0.5) * scale - 0.5
        indices = np.arange(-4 * scale, length + 4 * scale)
        x = np.abs(places[:, None] - indices) / scale
        weights = np.where(x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, 0)
        weights += np.where((x > 1) & (x <= 2), -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0)
        weights /= weights.sum(axis=1, keepdims=True)
        mirrored = np.where(indices < 0, -1 - indices, indices)
        mirrored = np.where(mirrored >= length, 2 * length - 1 - mirrored, mirrored)
        total = np.zeros((length // scale, length))
        np.add.at(total.T, mirrored, weights.T)
        return total

    shrunk: np.ndarray = matrix(image.shape[0]) @ image @ matrix(image.shape[1]).T
    return shrunk


def test_basicsrs_lr_is_matlabs_but_at_the_edges() -> None:
    photo = skimage.data.astronaut()[:120, :160]
    lr = Protocol.named("basicsr").degrade(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    channels = [by_matlab(photo[..., c].astype(np.float64), 4) for c in range(3)]
    theirs = np.stack(channels).round().clip(0, 255)
    apart = np.abs(lr[0].numpy() * 255 - theirs)
    # Within, a value at the edge between two of 8 bits may round the other way; at the image's
    # edges MATLAB mirrors pixels, where torch leaves out what isn't there.
    assert apart[:, 2:-2, 2:-2].max() < 1.01
    assert (apart[:, 2:-2, 2:-2] > 0.01).mean() < 0.001
    assert apart.max() > 1.01


@pytest.mark.parametrize("scale", [4, 8])
def test_dics_protocols_resize_by_pillow_both_ways(scale: int, tmp_path: Path) -> None:
    photo = Image.fromarray(skimage.data.astronaut()).resize((128, 128), Image.Resampling.LANCZOS)
    photo.save(tmp_path / "photo.png")
    small = photo.resize((128 // scale, 128 // scale), Image.Resampling.BICUBIC)
    protocol = Protocol.named(f"dic-x{scale}")
    hr = protocol.hr(tmp_path / "photo.png")
    lr = protocol.degrade(hr)
    assert torch.equal(lr, codec.to_tensor(small))
    _, bicubic, lanczos = references(scale, by_pillow=True)
    for method, kernel in ((bicubic, "BICUBIC"), (lanczos, "LANCZOS")):
        large = codec.to_tensor(small.resize((128, 128), Image.Resampling[kernel]))
        assert torch.equal(method(lr, hr.shape), large)
    # The default rounds and clamps once, at the end.
    assert 0 < (references(scale)[1](lr) - bicubic(lr)).abs().mean() < 0.5 / 255


def test_the_border_is_cut_off_all_sides() -> None:
    image = torch.arange(100.0).reshape(1, 1, 10, 10)
    assert torch.equal(Protocol(border=3).cut(image), image[..., 3:7, 3:7])
    assert torch.equal(Protocol().cut(image), image)
    with pytest.raises(InputError, match="a border of 5 leaves nothing of 10x10 pixels"):
        Protocol(border=5).cut(image)


def test_a_protocol_of_faces_frames_no_images(photos: list[Path]) -> None:
    with pytest.raises(InputError, match="for identity"):
        Protocol(framing="face").hr(photos[0])


def test_what_a_degradation_cant_do_is_one_line() -> None:
    wide = Protocol(framing="whole", options={"kernel": "gaussian-bicubic"})
    with pytest.raises(InputError, match=r"^degradation 'faces-x4': hr \(4, 4\) is too small"):
        wide.degrade(torch.rand(1, 3, 4, 4))


# --- stamps -------------------------------------------------------------------------------------


def test_a_stamp_states_every_field_and_every_default(photos: list[Path]) -> None:
    stamp = Protocol.named("paper").stamp(photos)
    assert set(Protocol.model_fields) < stamp.keys()
    assert stamp["options"].keys() == {"kernel", "noise", "blur", "quantise"}
    assert stamp["files"] == 5
    assert stamp["versions"].keys() >= {"srkit", "torch", "python"}


def test_stamps_differ_by_what_changes_figures(photos: list[Path]) -> None:
    paper = Protocol.named("paper")
    stamp = paper.stamp(photos)
    assert differences(stamp, paper.stamp(photos[::-1])) == []
    newer = {**stamp, "versions": {"srkit": "99"}, "name": "other", "metrics": []}
    assert differences(stamp, newer) == []
    assert differences(stamp, {**stamp, "provider": "srkit 99"}) == []
    (other,) = differences(stamp, {**stamp, "provider": "others-srkit 0.1.0"})
    assert other == f"provider: {stamp['provider']} and others-srkit 0.1.0"
    assert differences(stamp, paper.changed(border=4).stamp(photos)) == ["border: 0 and 4"]
    fewer = differences(stamp, paper.stamp(photos[1:]))
    assert [line.partition(":")[0] for line in fewer] == ["files", "fingerprint"]
    assert differences(stamp, {**stamp, "embedder": "x"}) == ["embedder: not stated and x"]


def test_the_fingerprint_is_of_names_and_bytes_in_any_order(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path / "one", 3, 16)
    first = fingerprint(files)
    other = [Path(shutil.copy(file, tmp_path)) for file in files]
    assert fingerprint(other) == first
    assert fingerprint(other[::-1]) == first
    assert fingerprint(other[:2]) != first
    renamed = other[1].rename(tmp_path / "renamed.png")
    assert fingerprint([files[0], renamed, files[2]]) != first
    other[0].write_bytes(other[0].read_bytes() + b" ")
    assert fingerprint([other[0], *files[1:]]) != first


def test_a_files_name_need_not_be_text(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff.png")
    file.write_bytes(b"x")
    first = fingerprint([file])
    assert fingerprint([file.rename(tmp_path / os.fsdecode(b"\xfe.png"))]) != first
    assert encoded("J\N{LATIN SMALL LETTER U WITH DIAERESIS}rgen") == b"J\xc3\xbcrgen"


def test_degradations_that_are_modules_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol.named("paper")
    hr = torch.rand(2, 3, 64, 64)
    protocol.degrade(hr)
    monkeypatch.setattr(registry, "build_scaled", lambda *given: pytest.fail("built again"))
    assert isinstance(protocol._degradation, nn.Module)
    protocol.degrade(hr)
