"""Whom a model was X its file, and the bench says who mustn't judge it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image
from torch import nn
from training import tiny

import srkit
from srkit import InputError, Loss, Model, Recipe, files, registry
from srkit.evaluation.overlap import embedder_overlap, photos_trained_on
from srkit.models import checkpoint
from srkit.training import parts

Crops = Callable[[Path, int, int], list[Path]]
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


def test_photos_that_a_model_was_trained_on_are_marked_in_table_page_and_json(
    tmp_path: Path, crops: Crops
) -> None:
    photos = crops(tmp_path / "train", 5, 70)
    result = srkit.train(
        tiny(steps=1, batch_size=2), data=tmp_path / "train", out=tmp_path / "run", device="cpu"
    )
    measured = tmp_path / "measured"
    crops(measured, 8, 70)  # the first five of them again, of which the first was held out
    for file in photos:
        (measured / file.name).unlink()
        Image.open(file).save(measured / f"{file.stem}.bmp")  # the same pixels in another file
    given_away = tmp_path / "alone.safetensors"
    shutil.copy(result.model, given_away)
    report = srkit.bench([given_away, "bicubic"], data=measured, report=tmp_path / "report")
    line = f"{given_away} was TRAINED ON 4 of these 8 photos: its figures say little of others"
    assert report.warnings == [line]
    assert report.models[str(given_away)]["trained_on"] == 4
    assert "trained_on" not in report.models["bicubic"]
    for file in ("index.html", "report.md", "report.json"):
        assert "TRAINED ON 4 of these 8 photos" in (tmp_path / "report" / file).read_text()

    # Every file of the run knows it, and so does whatever is trained on from it.
    later = srkit.train(
        tiny(steps=1, batch_size=2, init=str(result.best)),
        data=crops(tmp_path / "other", 9, 50)[0].parent,
        out=tmp_path / "later",
        device="cpu",
    )
    for source in (result.checkpoint, later.model):
        model = srkit.load(source)
        assert photos_trained_on([model], photos) == {model.name: 4}
    assert len(srkit.load(later.model).trained_on["square 32"]) == 4 + 8


def test_a_bench_says_of_whom_it_cant_know_what_they_were_trained_on(
    tmp_path: Path, crops: Crops
) -> None:
    crops(tmp_path, 1, 64)
    report = srkit.bench(["faces-clean", "bicubic"], data=tmp_path, device="cpu")
    assert report.quality
    note = "whether it was trained on these images isn't known: faces-clean"
    assert report.quality.notes == [note]
    assert report.models["faces-clean"]["trained_on"] == "not known"
    assert report.warnings == []


def test_keys_of_a_strangers_file_are_harmless(crops: Crops, tmp_path: Path) -> None:
    photos = crops(tmp_path, 1, 64)
    for framing in ("square 10000000", "whole 64", "pairs 64", "square 64 x", ""):
        trained_on = {framing: torch.zeros(3, dtype=torch.int64)}
        model = Model("strange", nn.Identity(), 4, trained_on=trained_on)
        assert photos_trained_on([model], photos) == {"strange": 0}


def with_identity(file: Path | str = "", **settings: Any) -> Recipe:
    options: dict[str, Any] = {"weights": str(file)} if file else {}
    losses = {"l1": Loss(), "identity": Loss(weight=0.1, **options)}
    return tiny(steps=1, batch_size=2, losses=losses, **settings)


def test_a_run_records_its_loss_embedders_and_goes_on_with_them(
    run: Run, tmp_path: Path, weights: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = weights
    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(one))
    result = run(with_identity())
    judge = registry.build("embedders", "facenet", weights=str(one))
    its = {"name": "facenet (one)", "sha256": files.sha256(one)}
    expected = {"identity": {**its, "values_sha256": judge.values_sha256}}
    models = [srkit.load(source) for source in (result.model, result.best, result.checkpoint)]
    for model in models:
        assert model.metadata["embedders"] == expected
    lines = embedder_overlap(models, judge)
    assert len(lines) == 3
    assert lines[0] == (
        f"{result.model} was trained with a loss on facenet (one) ({its['sha256'][:8]}), "
        "which measures it here; take another embedder=..."
    )

    another = registry.build("embedders", "facenet", weights=str(other))
    assert embedder_overlap(models, another) == []

    # What is trained on from it keeps the record, whatever its own losses.
    later = run(tiny(steps=1, batch_size=2, init=str(result.model)), out=tmp_path / "later")
    for source in (later.model, later.checkpoint):
        model = srkit.load(source)
        assert model.metadata["embedders"] == {"init.identity": expected["identity"]}
        assert len(embedder_overlap([model], judge)) == 1

    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(other))
    with pytest.raises(InputError, match=r"loss 'identity' had facenet \(one\).*facenet \(other\)"):
        run(with_identity().changed({"steps": 2}), resume=True)
    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(one))
    result = run(with_identity().changed({"steps": 2}), resume=True)
    assert result.step == 2
    assert checkpoint.read(result.checkpoint).metadata["embedders"] == expected


def test_a_run_without_one_records_none(run: Run) -> None:
    result = run(tiny(steps=1, batch_size=2))
    for source in (result.model, result.checkpoint):
        assert "embedders" not in srkit.load(source).metadata


def term(loss: Any) -> parts.Term:
    return parts.Term("any", loss, frozenset({"sr"}))


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
        "facenet (b), which measures it here, take another embedder=..."
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
