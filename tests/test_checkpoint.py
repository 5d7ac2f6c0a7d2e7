"""Checkpoints: what goes in comes out, half a file never shows, wrong files say so."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from srkit import InputError, Loss, Part, Recipe
from srkit.models import checkpoint

RECIPE = Recipe(
    name="small",
    generator=Part.of("face-residual", width=8, blocks=1),
    losses={"l1": Loss()},
    degradation=Part.of("faces-x4"),
)


def weights() -> dict[str, Tensor]:
    return checkpoint.prefixed("generator", {"a": torch.randn(3, 4), "b.c": torch.tensor(7)})


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    file = tmp_path / "new" / "x.safetensors"
    tensors = {
        **weights(),
        "generator.last": torch.randn(2, 3, 5, 5).contiguous(memory_format=torch.channels_last),
        "generator.view": torch.randn(8)[::2],
        "rng.torch": torch.get_rng_state(),
        "ema.d": torch.randn(2, dtype=torch.float64),
    }
    tensors["ema.shared"] = tensors["ema.d"]
    checkpoint.write(file, tensors, RECIPE, 12, {"scores": {"psnr": 21.5}})
    found = checkpoint.read(file)
    assert (found.recipe, found.step) == (RECIPE, 12)
    assert found.metadata["scores"] == {"psnr": 21.5}
    assert found.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name], value)
        assert found.tensors[name].is_contiguous()
    assert found.part("ema").keys() == {"d", "shared"}
    assert found.part("e") == {}


@pytest.mark.parametrize("framework", ["pt", "np"])
def test_a_name_need_not_be_text(tmp_path: Path, framework: str) -> None:
    file = tmp_path / os.fsdecode(b"\xffnames") / os.fsdecode(b"\xfe.safetensors")
    tensors = weights()
    checkpoint.write(file, tensors, RECIPE, 12)
    found = checkpoint.read(file, framework=framework)
    assert found.step == 12
    assert {name: value.tolist() for name, value in found.tensors.items()} == {
        name: value.tolist() for name, value in tensors.items()
    }


def test_one_part_can_be_read_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    tensors = {**weights(), "generator_more.a": torch.zeros(1), "ema.a": torch.zeros(1)}
    checkpoint.write(file, tensors, RECIPE, 1)
    assert checkpoint.read(file, only=("generator",)).tensors.keys() == weights().keys()


def test_every_part_is_stored_with_who_provided_it(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    checkpoint.write(file, weights(), RECIPE, 1)
    metadata = checkpoint.read(file).metadata
    assert metadata["parts"].keys() == {
        "generators/face-residual",
        "degradations/faces-x4",
        "losses/l1",
    }
    assert all(owner.startswith("srkit ") for owner in metadata["parts"].values())
    assert metadata["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("failure", [OSError("no space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("older", [True, False])
def test_a_failing_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, older: bool
) -> None:
    file = tmp_path / "x.safetensors"
    if older:
        checkpoint.write(file, weights(), RECIPE, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(tensors: Mapping[str, Tensor], name: Path, header: object) -> None:
        name.write_bytes(b"half of it")
        raise failure

    monkeypatch.setattr("safetensors.torch.save_file", half)
    expected = InputError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        checkpoint.write(file, weights(), RECIPE, 2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_new_file_replaces_the_old_and_has_ordinary_permissions(tmp_path: Path) -> None:
    file, plain = tmp_path / "x.safetensors", tmp_path / "plain"
    plain.touch()
    for step in (1, 2):
        checkpoint.write(file, weights(), RECIPE, step)
    assert checkpoint.read(file).step == 2
    assert file.stat().st_mode == plain.stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_the_callers_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't write"):
        checkpoint.write(tmp_path / "file" / "x.safetensors", weights(), RECIPE, 1)


def text(file: Path) -> None:
    file.write_text("hello, I am text, not weights\n" * 10)


def empty(file: Path) -> None:
    file.touch()


def pickled(file: Path) -> None:
    torch.save({"a": torch.zeros(2)}, file)


def truncated(file: Path) -> None:
    checkpoint.write(file, weights(), RECIPE, 1)
    file.write_bytes(file.read_bytes()[:-9])


def cut_in_the_header(file: Path) -> None:
    checkpoint.write(file, weights(), RECIPE, 1)
    file.write_bytes(file.read_bytes()[:40])


def foreign(file: Path) -> None:
    save_file({"a": torch.zeros(2)}, file, {"format": "pt"})


def foreign_without_header(file: Path) -> None:
    save_file({"a": torch.zeros(2)}, file)


def header_of_18_exabytes(file: Path) -> None:
    checkpoint.write(file, weights(), RECIPE, 1)
    file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])


def header_without_recipe(file: Path) -> None:
    save_file({"a": torch.zeros(2)}, file, {checkpoint.KEY: "{}"})


def folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize(
    "make",
    [
        text,
        empty,
        pickled,
        truncated,
        cut_in_the_header,
        foreign,
        foreign_without_header,
        header_of_18_exabytes,
        header_without_recipe,
        folder,
    ],
)
def test_a_wrong_file_is_refused_in_one_line_that_names_it(tmp_path: Path, make: object) -> None:
    file = tmp_path / "x.safetensors"
    assert callable(make)
    make(file)
    with pytest.raises(InputError) as raised:
        checkpoint.read(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        checkpoint.read(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda state: state.pop("weight"), "Missing key"),
        (lambda state: state.update(more=torch.zeros(1)), "Unexpected key"),
        (lambda state: state.update(weight=torch.zeros(2, 3, 3, 3)), "size mismatch for weight"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(change: object, word: str) -> None:
    network = nn.Conv2d(3, 4, 3)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    assert callable(change)
    change(state)
    with pytest.raises(InputError) as raised:
        checkpoint.load_weights(network, state, "some.safetensors")
    assert str(raised.value).startswith("some.safetensors: weights don't fit")
    assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_loaded_weights_keep_the_networks_memory_format() -> None:
    network = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = {key: torch.randn(value.shape) for key, value in network.state_dict().items()}
    checkpoint.load_weights(network, state, "x")
    assert network.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(network.weight, state["weight"])


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    network(torch.randn(2, 4, 6, 6)).square().mean().backward()
    optimizer.step()


def test_an_optimizer_survives_with_its_memory_format(tmp_path: Path) -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        network = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network, torch.optim.Adam(network.parameters(), lr=0.1, betas=(0.5, 0.9), fused=True)

    network, optimizer = fresh()
    for _ in range(3):
        step(network, optimizer)
    tensors, scalars = checkpoint.optimizer_state(optimizer)
    file = tmp_path / "x.safetensors"
    checkpoint.write(file, checkpoint.prefixed("optimizer", tensors), RECIPE, 3, {"o": scalars})
    found = checkpoint.read(file)

    other, again = fresh()
    other.load_state_dict(network.state_dict())
    checkpoint.restore_optimizer(again, found.part("optimizer"), found.metadata["o"])
    moment = again.state[next(other.parameters())]["exp_avg"]
    assert moment.is_contiguous(memory_format=torch.channels_last)
    for one, its in ((network, optimizer), (other, again)):
        torch.manual_seed(1)
        step(one, its)
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def draws() -> list[object]:
    return [
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
        np.random.rand(3).tolist(),
        np.random.standard_normal(),
        random.random(),
        random.gauss(0, 1),
    ]


def test_random_states_survive_a_file(tmp_path: Path) -> None:
    draws()  # an odd number of Gaussian draws: numpy and random hold one back
    tensors, scalars = checkpoint.rng_state()
    file = tmp_path / "x.safetensors"
    checkpoint.write(file, checkpoint.prefixed("rng", tensors), RECIPE, 1, {"rng": scalars})
    expected = draws()
    draws()
    found = checkpoint.read(file)
    checkpoint.restore_rng(found.part("rng"), found.metadata["rng"])
    assert draws() == expected
