"""Is the judge one that a model was trained to please? Then its figures say little."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from srkit import registry
from srkit.errors import SrkitError
from srkit.inference.model import Model

SUMS = ("sha256", "values_sha256")


def warnings(models: Sequence[Model], judge: Any) -> list[str]:
    """Return one line for every model that ``judge`` must not, or perhaps must not, judge.

    Equal weights are known by the SHA-256 of their file, or of their values where an embedder
    has ``values_sha256``: the same weights may come in several files.

    Args:
        models: With the metadata of their files.
        judge: An embedder, with ``name`` and ``sha256``.
    """
    sums = {getattr(judge, key) for key in SUMS if getattr(judge, key, None)}
    return [line for model in models if (line := _warning(model, judge.name, sums))]


def _warning(model: Model, judge: str, sums: set[str]) -> str | None:
    recorded = _recorded(model)
    for its in recorded.values():
        if same := sums & {its[key] for key in SUMS if key in its}:
            name, digits = its.get("name", "an embedder"), its.get("sha256", min(same))
            return (
                f"{model.name} was trained to please {name} ({digits:.8}), "
                "which judges it here; take another --embedder"
            )
    if unknown := [loss for loss in _pleasing(model) if not recorded.get(loss)]:
        losses = " and ".join(f"'{loss}'" for loss in unknown)
        return (
            f"{model.name} was trained with {losses}, and its file doesn't say with which "
            f"embedder; if with {judge}, which judges it here, take another --embedder"
        )
    return None


def _recorded(model: Model) -> dict[str, dict[str, str]]:
    """Return whom a model's file says that its losses pleased; what isn't of that form is nothing.

    Anybody may have written that file.
    """
    said = model.metadata.get("embedders")
    each = said.items() if isinstance(said, Mapping) else ()
    return {
        loss: {key: value for key, value in its.items() if isinstance(value, str)}
        for loss, its in each
        if isinstance(its, Mapping)
    }


def _pleasing(model: Model) -> Iterator[str]:
    """Yield the losses of a model's recipe that compare embeddings.

    Their factories are classes with an attribute ``embedder``, given or only annotated.
    """
    for name in model.recipe.losses if model.recipe else ():
        try:
            factory = registry.find("losses", name)
        except SrkitError:  # of a plugin that isn't here, or is broken: nothing is known of it
            continue
        classes = inspect.getmro(factory) if inspect.isclass(factory) else ()
        if any("embedder" in {**vars(c), **inspect.get_annotations(c)} for c in classes):
            yield name
