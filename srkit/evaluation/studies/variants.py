"""A study's recipes, with the changes that a user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from srkit import registry
from srkit.errors import RecipeError
from srkit.evaluation.studies.study import Study
from srkit.recipe import Recipe


def recipes(study: Study, settings: Mapping[str, Any], seed: int) -> dict[str, Recipe]:
    """Return the scenarios' recipes, by label, with changes where they have the parts for them.

    Raises:
        RecipeError: A change that no scenario has a place for, or one that the study decides.
        SrkitError: There is no such recipe.
    """
    for path, instead in {"steps": "--steps", "seed": "--seed", "name": "no change"}.items():
        if path in settings:
            raise RecipeError(f"--set {path}: a study decides that itself; {instead}")
    found: dict[str, Recipe] = {}
    used: set[str] = set()
    for scenario in study.scenarios:
        recipe = registry.build("recipes", scenario.recipe)
        fitting = {path: value for path, value in settings.items() if _fits(recipe, path)}
        used |= fitting.keys()
        found[scenario.label] = recipe.changed({**fitting, "seed": seed})
    if idle := [path for path in settings if path not in used]:
        raise RecipeError(f"--set {idle[0]}: no recipe of study '{study.name}' has such a part")
    return found


def _fits(recipe: Recipe, path: str) -> bool:
    """Return whether a recipe has the part that a setting changes: not all have an adversary."""
    first, _, rest = path.partition(".")
    if first in ("discriminator", "adversarial"):
        return getattr(recipe, first) is not None
    if first == "losses":
        return rest.partition(".")[0] in recipe.losses
    return True
