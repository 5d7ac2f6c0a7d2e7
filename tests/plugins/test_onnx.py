"""ONNX files as models: ours say what they are, others are probed, and every refusal is a line."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import skimage.data
import torch
from onnx import TensorProto, helper
from PIL import Image
from srkit_onnx import export
from srkit_onnx.generator import OnnxGenerator
from srkit_onnx.reader import read
from srkit_onnx.session import Session

import srkit
from srkit import InputError, Model, registry

Cli = Callable[..., tuple[int, str, str]]


def foreign(
    file: Path,
    *,
    shape: tuple[Any, ...] = ("b", 3, "h", "w"),
    kind: int = TensorProto.FLOAT,
    scales: tuple[float, ...] = (1, 1, 2, 2),
    times: float = 1.0,
    more: tuple[str, ...] = (),
    resize: bool = True,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a network of nearest-neighbour interpolation, as somebody else's exporter would."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    factor = helper.make_tensor("factor", kind, [], np.array(times, dtype).tobytes(), raw=True)
    grown = helper.make_tensor("scales", TensorProto.FLOAT, [4], scales)
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["y"]),
        helper.make_node("Resize", ["y", "", "scales"], ["z"], mode="nearest")
        if resize
        else helper.make_node("Identity", ["y"], ["z"]),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in more]
    outputs = [helper.make_tensor_value_info("z", kind, None)]
    graph = helper.make_graph(nodes, "nearest", inputs, outputs, [factor, grown])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    made.producer_name = "somebody"
    helper.set_model_props(made, metadata or {})
    onnx.save(made, file)
    return file


def nearest(lr: torch.Tensor, scale: int = 2) -> torch.Tensor:
    return lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2)


# --- ours ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = registry.build("generators", "face-residual", scale=2, width=8, blocks=1).eval()
    model = Model("small", generator, 2, licence="CC0-1.0", sha256="ab" * 32)
    return export.export(model, tmp_path_factory.mktemp("ours") / "small.onnx").file


def test_what_srkit_exported_says_what_it_is(ours: Path) -> None:
    model = srkit.load(ours, device="cpu")
    assert (model.scale, model.licence) == (2, "CC0-1.0")
    assert model.generator.receptive_radius == 5
    assert model.exact_tiles
    assert model.metadata["exported"]["sha256"] == "ab" * 32
    assert model.metadata["reader"] == "onnx"


def test_tiles_give_what_the_whole_image_would(ours: Path) -> None:
    model = srkit.load(ours, device="cpu")
    lr = torch.rand(1, 3, 50, 71)
    whole = model.generator(lr).clamp(0, 1)
    assert torch.allclose(model.upscale(lr, tile=16), whole, atol=1e-5)


def test_the_command_line_upscales_with_it(cli: Cli, ours: Path, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.astronaut()[30:70, 200:250]).save(tmp_path / "face.png")
    status, _, err = cli("upscale", tmp_path / "face.png", "--model", ours)
    assert status == 0, err
    with Image.open(tmp_path / "face-x2.png") as image:
        assert image.size == (100, 80)


def test_metadata_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    for said in (
        {"srkit.scale": "four"},
        {"srkit.scale": "2", "srkit.receptive_radius": "-1"},
        {"srkit.scale": ""},
        {"srkit.scale": "9" * 5000},
    ):
        with pytest.raises(InputError, match=r"srkit\.\w+ can.t be .*; export it again"):
            read(foreign(tmp_path / "x.onnx", metadata=said))


def test_a_wrong_scale_shows_when_it_is_run(tmp_path: Path) -> None:
    model = srkit.load(foreign(tmp_path / "x.onnx", metadata={"srkit.scale": "3"}), device="cpu")
    with pytest.raises(InputError, match=r"makes 14x10 pixels of 7x5 where 21x15 were due"):
        model.generator(torch.rand(1, 3, 5, 7))


# --- others -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["b", 1])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_foreign_files_scale_is_found_by_running_it(
    tmp_path: Path, scale: int, batch: str | int
) -> None:
    scales = (1, 1, scale, scale)
    file = foreign(
        tmp_path / "x.onnx",
        shape=(batch, 3, "h", "w"),
        scales=scales,
        metadata={"license": "BSD-3-Clause"},
    )
    model = srkit.load(file, device="cpu")
    assert (model.scale, model.licence) == (scale, "BSD-3-Clause")
    assert not model.exact_tiles
    assert model.metadata["producer"] == "somebody"
    lr = torch.rand(3, 3, 9, 14)
    assert torch.equal(model.generator(lr), nearest(lr, scale))


def test_half_precision_is_converted_on_the_way(tmp_path: Path) -> None:
    model = srkit.load(foreign(tmp_path / "x.onnx", kind=TensorProto.FLOAT16), device="cpu")
    lr = torch.rand(1, 3, 6, 5)
    sr = model.generator(lr)
    assert sr.dtype == torch.float32
    assert torch.equal(sr, nearest(lr.half().float()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scales": (1, 1, 1, 1)}, r"gives \(1, 3, 48, 64\) for \(1, 3, 48, 64\)"),
        ({"scales": (1, 1, 0.5, 0.5)}, r"gives \(1, 3, 24, 32\)"),
        ({"scales": (1, 1, 2.5, 2.5)}, r"gives \(1, 3, 120, 160\)"),
        ({"scales": (1, 1, 2, 3)}, r"gives \(1, 3, 96, 192\)"),
        ({"scales": (1, 2, 2, 2)}, r"gives \(1, 6, 96, 128\)"),
        ({"times": 255.0}, r"makes 128 of a grey of 0\.5"),
        ({"times": float("nan")}, r"makes nan of a grey of 0\.5"),
        ({"shape": ("b", "h", "w", 3)}, r"of shape \['b', 'h', 'w', 3\]"),
        ({"shape": (1, 3, 64, 64)}, r"images of 64x64 \(height x width\) alone"),
        ({"shape": ("b", 1, "h", "w")}, r"wants an input of shape \['b', 1, 'h', 'w'\]"),
        ({"shape": ("b", 3, "n"), "resize": False}, r"wants an input of shape"),
        ({"kind": TensorProto.DOUBLE, "resize": False}, r"wants tensor\(double\)"),
        ({"more": ("strength",)}, r"wants 2 inputs \(x, strength\)"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_foreign_file_that_upscales_no_images_says_what_it_does(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as raised:
        srkit.load(foreign(tmp_path / "x.onnx", **settings))
    assert str(raised.value).startswith(str(tmp_path / "x.onnx"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"not ONNX\n", b"\x08\x09" * 40])
def test_a_damaged_file_is_one_clear_line(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.onnx: not a readable ONNX file") as raised:
        srkit.load(file)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_a_torn_file_is_one_clear_line(tmp_path: Path, ours: Path) -> None:
    file = tmp_path / "x.onnx"
    file.write_bytes(ours.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"x\.onnx: not a readable ONNX file"):
        srkit.load(file)


def test_a_size_that_the_network_cannot_take_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cuts an image into 16 columns, as a network of windows would."""
    nodes = [
        helper.make_node("Split", ["x"], [f"c{n}" for n in range(16)], axis=3, num_outputs=16),
        helper.make_node("Sum", [f"c{n}" for n in range(16)], ["s"]),
        helper.make_node("Div", ["s", "n"], ["m"]),
        helper.make_node("Concat", ["m"] * 32, ["wide"], axis=3),
        helper.make_node("Concat", ["wide", "wide"], ["z"], axis=2),
    ]
    graph = helper.make_graph(
        nodes,
        "windows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [helper.make_tensor("n", TensorProto.FLOAT, [], [16.0])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, tmp_path / "x.onnx")
    model = srkit.load(tmp_path / "x.onnx", device="cpu")
    assert model.generator(torch.rand(1, 3, 5, 32)).shape == (1, 3, 10, 64)
    with pytest.raises(InputError, match=r"x\.onnx: ONNX Runtime can't run it on 37x5 pixels") as e:
        model.generator(torch.rand(1, 3, 5, 37))
    assert "\n" not in str(e.value)
    assert capfd.readouterr() == ("", "")


def test_onnx_runtime_reports_nothing_to_its_maker(tmp_path: Path) -> None:
    # Where it does, it keeps an id of this device and what is still to be sent below the home.
    quiet = ("ORT_", "CI", "GITHUB_", "XDG_CACHE_HOME")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(quiet)}
    home = tmp_path / "home"
    home.mkdir()
    photo = tmp_path / "photo.png"
    Image.fromarray(skimage.data.astronaut()[:32, :32]).save(photo)
    for engine in ("onnxruntime", "openvino"):
        command = ["-m", "srkit", "upscale", photo, "-o", tmp_path / engine, "--engine", engine]
        subprocess.run(
            [sys.executable, *command], env={**environment, "HOME": str(home)}, check=True
        )
    assert not list(home.rglob("*onnxruntime*"))


def test_another_file_is_not_the_readers(tmp_path: Path) -> None:
    assert read(tmp_path / "none.safetensors") is None


# --- as a module --------------------------------------------------------------------------------


def test_threads_follow_torchs(ours: Path) -> None:
    generator = OnnxGenerator(ours)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            generator(torch.rand(1, 3, 4, 4))
            assert generator.session.now.get_session_options().intra_op_num_threads == threads
    finally:
        torch.set_num_threads(before)


def test_it_is_copied_and_pickled_as_any_module(ours: Path) -> None:
    generator = read(ours)
    assert generator is not None
    lr = torch.rand(1, 3, 6, 7)
    for other in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        assert torch.equal(other(lr), generator(lr))
        assert other.receptive_radius == generator.receptive_radius


def test_any_layout_and_type_is_taken(ours: Path) -> None:
    generator = OnnxGenerator(ours)
    lr = torch.rand(2, 3, 6, 7)
    sr = generator(lr)
    assert torch.equal(generator(lr.contiguous(memory_format=torch.channels_last)), sr)
    assert torch.allclose(generator(lr.double()), sr, atol=1e-6)
    with torch.inference_mode():
        assert torch.equal(generator(lr), sr)


def test_running_out_of_memory_is_told_as_such(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = OnnxGenerator(ours)
    inputs = generator.session.now.get_inputs()

    class Full:
        def get_inputs(self) -> Any:
            return inputs

        def run(self, *_: object) -> Any:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 10")

    monkeypatch.setattr(Session, "now", Full())
    with pytest.raises(MemoryError):
        generator(torch.rand(1, 3, 4, 4))
