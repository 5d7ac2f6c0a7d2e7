"""Models trained on what measures them, photos or an embedder: their figures say little."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srkit import registry
from srkit.data.datasets import photo_keys
from srkit.errors import InputError, SrkitError, option
from srkit.inference.model import Model
from srkit.readahead import read_ahead

HASHES = ("sha256", "values_sha256")


def photos_trained_on(models: Sequence[Model], photos: Sequence[Path]) -> dict[str, int]:
    """Return how many of these photos each model was trained on.

    A photo counts that has the pixels of a training photo, whatever its file; one encoded anew has
    others. Models whose files don't say what they were trained on are left out.
    """
    trained = {
        model.name: {framing: set(keys.tolist()) for framing, keys in model.trained_on.items()}
        for model in models
        if model.trained_on
    }
    framings = {framing for keys in trained.values() for framing in keys}

    def keys_of(photo: Path) -> dict[str, set[int]]:
        try:
            return {framing: set(photo_keys(photo, framing).tolist()) for framing in framings}
        except InputError:  # who measures it says so
            return {}

    counts = dict.fromkeys(trained, 0)
    for keys in read_ahead(keys_of, photos if trained else ()):
        for name, known in trained.items():
            counts[name] += any(known[framing] & keys[framing] for framing in known.keys() & keys)
    return counts


def embedder_overlap(models: Sequence[Model], embedder: Any) -> list[str]:
    """Return a warning for every model that ``embedder`` must not, or perhaps must not, measure.

    Equal weights are known by the SHA-256 of their file, or of their values where an embedder
    has ``values_sha256``: the same weights may come in several files.

    Args:
        models: Models with the metadata of their files.
        embedder: An embedder, with ``name`` and ``sha256``.
    """
    hashes = {getattr(embedder, key) for key in HASHES if getattr(embedder, key, None)}
    return [line for model in models if (line := _warning(model, embedder.name, hashes))]


def _warning(model: Model, embedder: str, hashes: set[str]) -> str | None:
    recorded = _recorded(model)
    for about in recorded.values():
        if same := hashes & {about[key] for key in HASHES if key in about}:
            name, digits = about.get("name", "an embedder"), about.get("sha256", min(same))
            return (
                f"{model.name} was trained with a loss on {name} ({digits:.8}), "
                f"which measures it here; take another {option('embedder')}"
            )
    if unknown := [loss for loss in _embedding_losses(model) if not recorded.get(loss)]:
        losses = " and ".join(f"'{loss}'" for loss in unknown)
        return (
            f"{model.name} was trained with {losses}, and its file doesn't say with which "
            f"embedder; if with {embedder}, which measures it here, take another "
            f"{option('embedder')}"
        )
    return None


def _recorded(model: Model) -> dict[str, dict[str, str]]:
    """Return the loss embedders that a model's file, which anybody may have written, names."""
    embedders = model.metadata.get("embedders")
    return {
        loss: {key: value for key, value in about.items() if isinstance(value, str)}
        for loss, about in (embedders.items() if isinstance(embedders, Mapping) else ())
        if isinstance(about, Mapping)
    }


def _embedding_losses(model: Model) -> Iterator[str]:
    """Yield the losses of a model's recipe that compare embeddings.

    Their factories are classes with an attribute ``embedder``, assigned or only annotated.
    """
    for name in model.recipe.losses if model.recipe else ():
        try:
            factory = registry.find("losses", name)
        except SrkitError:  # of a plugin that isn't here, or is broken: nothing is known of it
            continue
        classes = inspect.getmro(factory) if inspect.isclass(factory) else ()
        if any("embedder" in {**vars(c), **inspect.get_annotations(c)} for c in classes):
            yield name
