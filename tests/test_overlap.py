"""Whom a model was X its file, and the bench says who mustn't judge it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from torch import nn
from training import tiny

import srkit
from srkit import InputError, Loss, Model, Recipe, files, registry
from srkit.evaluation.identity.overlap import embedder_overlap
from srkit.models import checkpoint
from srkit.training import parts

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two random state_dicts of FaceNet's shapes."""
    folder = tmp_path_factory.mktemp("facenet")
    torch.manual_seed(0)
    state = InceptionResnetV1(pretrained=None).state_dict()
    torch.save(state, folder / "one.pt")
    state["last_bn.bias"] = state["last_bn.bias"] + 1
    torch.save(state, folder / "other.pt")
    return folder / "one.pt", folder / "other.pt"


def with_identity(file: Path | str = "", **settings: Any) -> Recipe:
    options: dict[str, Any] = {"weights": str(file)} if file else {}
    losses = {"l1": Loss(), "identity": Loss(weight=0.1, **options)}
    return tiny(steps=1, batch_size=2, losses=losses, **settings)


def test_a_run_records_its_loss_embedders(
    run: Run, tmp_path: Path, weights: tuple[Path, Path]
) -> None:
    result = run(with_identity(weights[0]))
    judge = registry.build("embedders", "facenet", weights=str(weights[0]))
    its = {"name": "facenet (one)", "sha256": files.sha256(weights[0])}
    expected = {"identity": {**its, "values_sha256": judge.values_sha256}}
    models = [srkit.load(source) for source in (result.model, result.best, result.checkpoint)]
    for model in models:
        assert model.metadata["embedders"] == expected
    lines = embedder_overlap(models, judge)
    assert len(lines) == 3
    assert lines[0] == (
        f"{result.model} was trained with a loss on facenet (one) ({its['sha256'][:8]}), "
        "which measures it here; take another --embedder"
    )

    other = registry.build("embedders", "facenet", weights=str(weights[1]))
    assert embedder_overlap(models, other) == []

    # What is trained on from it keeps the record, whatever its own losses.
    later = run(tiny(steps=1, batch_size=2, init=str(result.model)), out=tmp_path / "later")
    for source in (later.model, later.checkpoint):
        model = srkit.load(source)
        assert model.metadata["embedders"] == {"init.identity": expected["identity"]}
        assert len(embedder_overlap([model], judge)) == 1


def test_a_run_without_one_records_none(run: Run) -> None:
    result = run(tiny(steps=1, batch_size=2))
    for source in (result.model, result.checkpoint):
        assert "embedders" not in srkit.load(source).metadata


def test_a_run_goes_on_with_the_embedder_it_began_with(
    run: Run, weights: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = weights
    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(one))
    run(with_identity())
    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(other))
    with pytest.raises(InputError, match=r"loss 'identity' had facenet \(one\).*facenet \(other\)"):
        run(with_identity().changed({"steps": 2}), resume=True)
    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(one))
    result = run(with_identity().changed({"steps": 2}), resume=True)
    assert result.step == 2
    metadata = checkpoint.read(result.checkpoint).metadata
    assert metadata["embedders"]["identity"]["sha256"] == files.sha256(one)


def term(loss: Any) -> parts.Term:
    return parts.Term(1.0, loss, frozenset({"sr"}))


def test_any_loss_with_an_embedder_counts() -> None:
    class Pleasing(nn.Module):
        def __init__(self, embedder: Any) -> None:
            super().__init__()
            self.embedder = embedder

    named = SimpleNamespace(name="mine (1)", sha256="ab" * 32)
    terms: Mapping[str, parts.Term] = {
        "mine": term(Pleasing(named)),
        "words": term(Pleasing("not one that has weights")),
        "l1": term(nn.L1Loss()),
    }
    assert parts.loss_embedders(terms) == {"mine": {"name": "mine (1)", "sha256": "ab" * 32}}


# --- the bench's warnings -----------------------------------------------------------------------


def model(recorded: Any = None, recipe: Recipe | None = None, name: str = "x") -> Model:
    metadata = {} if recorded is None else {"embedders": recorded}
    return Model(name, nn.Identity(), 4, recipe=recipe, metadata=metadata)


def judge(sha256: str = "a" * 64, **more: str) -> SimpleNamespace:
    return SimpleNamespace(name="facenet (b)", sha256=sha256, **more)


def test_equal_values_in_different_files_coincide() -> None:
    trained = model({"identity": {"name": "n", "sha256": "c" * 64, "values_sha256": "d" * 64}})
    assert embedder_overlap([trained], judge(values_sha256="e" * 64)) == []
    (line,) = embedder_overlap([trained], judge(values_sha256="d" * 64))
    assert "trained with a loss on n (cccccccc)" in line
    # Downloaded weights' sum is that of the values.
    assert len(embedder_overlap([trained], judge("d" * 64))) == 1


def test_where_nothing_is_recorded_the_recipe_raises_a_doubt() -> None:
    recipe = with_identity("some.pt")
    (line,) = embedder_overlap([model(None, recipe)], judge())
    assert line == (
        "x was trained with 'identity', and its file doesn't say with which embedder; if with "
        "facenet (b), which measures it here, take another --embedder"
    )
    known = {"identity": {"name": "n", "sha256": "c" * 64}}
    assert embedder_overlap([model(known, recipe)], judge()) == []


def test_a_strangers_file_may_say_anything() -> None:
    for said in (["identity"], "identity", 1, {"identity": "facenet"}, {"l1": {"sha256": ["a"]}}):
        assert embedder_overlap([model(said)], judge()) == []
        (line,) = embedder_overlap([model(said, with_identity("some.pt"))], judge())
        assert "doesn't say with which embedder" in line
    (line,) = embedder_overlap([model({"l1": {"values_sha256": "a" * 64, "name": None}})], judge())
    assert "trained with a loss on an embedder (aaaaaaaa)" in line


def test_models_without_one_raise_none() -> None:
    lost = tiny().changed({"losses": {"l1": Loss(), "of-a-plugin-that-is-gone": Loss()}})
    assert embedder_overlap([model(), model({}, tiny()), model(None, lost)], judge()) == []


def test_one_line_a_model_in_their_order() -> None:
    guilty = {"identity": {"name": "n", "sha256": "a" * 64}}
    models = [model(guilty, name="one"), model(name="two"), model(guilty, name="three")]
    assert [line.split()[0] for line in embedder_overlap(models, judge())] == ["one", "three"]
