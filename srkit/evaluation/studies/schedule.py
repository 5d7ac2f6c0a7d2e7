"""How many batches each training of a study does, fixed before the first one and then kept."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch

from srkit.data import sources
from srkit.errors import InputError
from srkit.evaluation.studies import turns
from srkit.evaluation.studies.study import Study
from srkit.evaluation.studies.turns import Pace
from srkit.files import write_text
from srkit.models import checkpoint
from srkit.recipe import Recipe

FILE = "study.json"
MEASURING = 0.02, 180.0  # of the time there is, and seconds: what measuring takes at most
LOST = 45.0  # seconds between checkpoints: what a kill costs at most, and a little more
SAVING, VALIDATING = 0.05, 0.02  # of a training's time, at most
VALIDATIONS = 20  # at most

Equal = Literal["time", "batches"]


class Training(pydantic.BaseModel):
    """One scenario's training.

    Attributes:
        label: The scenario's.
        recipe: Complete, as TOML.
        steps: Batches in all.
        checkpoint_every: Batches.
        pace: What it was measured to cost.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    label: str
    recipe: str
    steps: int
    checkpoint_every: int
    pace: Pace

    def complete(self) -> Recipe:
        """Return the recipe."""
        return Recipe.from_toml(self.recipe, FILE)

    @property
    def seconds(self) -> float:
        """What it should take, validations and checkpoints included."""
        validations = math.ceil(self.steps / self.complete().validate_every)
        saves = self.steps / self.checkpoint_every + 1
        its = self.pace
        spent = validations * its.validation + saves * its.checkpoint
        return its.start + self.steps * its.step + spent


class Schedule(pydantic.BaseModel):
    """What a study does here, as its folder keeps it.

    Attributes:
        format: Of the file.
        study: Name.
        asked: What the user asked for; a second start must ask for the same.
        data: Where the training photos lay.
        fingerprint: Of the training photos, decoded.
        share: Seconds of each training; None where the number of steps was given.
        measuring: Seconds that measuring took.
        began: When, by the clock.
        machine: What the times depend on.
        versions: What the pictures depend on.
        trainings: One a scenario, in order.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    format: Literal["srkit study 1"] = "srkit study 1"
    study: str
    asked: dict[str, Any]
    data: str
    fingerprint: str
    share: float | None
    measuring: float
    began: str
    machine: dict[str, Any]
    versions: dict[str, str]
    trainings: list[Training]

    @classmethod
    def read(cls, folder: Path) -> Schedule | None:
        """Return the schedule kept in a folder; None where there is none.

        Raises:
            InputError: It is damaged, or of another version of srkit.
        """
        file = folder / FILE
        try:
            return cls.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise InputError(
                f"{file}: no study of this version of srkit ({first}); choose another --out"
            ) from error

    def write(self, folder: Path) -> None:
        """Keep it in a folder.

        Raises:
            InputError: That can't be written.
        """
        write_text(folder / FILE, json.dumps(self.model_dump(mode="json"), indent=1))

    def require_same(self, study: Study, asked: Mapping[str, Any], source: str) -> None:
        """See that a second start wants what the first did.

        Raises:
            InputError: It doesn't; one line says what differs.
        """
        old = {"study": self.study, **self._trained(), "data": self.data, **self.asked}
        now = {scenario.label: scenario.recipe for scenario in study.scenarios}
        new = {"study": study.name, "scenarios": now, "data": source, **_plain(asked)}
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                raise InputError(
                    f"begun with {key} {_said(old.get(key))}, now {_said(new.get(key))}: "
                    "ask for the same, or choose another --out"
                )

    def _trained(self) -> dict[str, dict[str, str]]:
        return {"scenarios": {its.label: its.complete().name for its in self.trainings}}


def _said(value: Any) -> str:
    return "not given" if value in (None, {}) else str(value)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def place(source: str | Path) -> str:
    """Return what a data set's name stands for, so that a name and its path are the same.

    Raises:
        InputError: There is no such data set.
    """
    if str(source) == sources.SAMPLES or ":" in str(source):
        return str(source)
    return str(sources.locate(source).resolve())


def make(
    study: Study,
    chosen: Mapping[str, Recipe],
    folder: Path,
    *,
    source: str | Path,
    asked: Mapping[str, Any],
    validate_every: int | None,
    device: str,
    workers: int | None,
    decoded: Callable[[int, int], None],
) -> Schedule:
    """Measure the recipes' speeds in turns and fix how many batches each does.

    Args:
        study: The study.
        chosen: Its recipes, by label.
        folder: Of the study's runs.
        source: Training photos.
        asked: ``time_budget`` (seconds for all, measuring included), ``equal``, ``steps`` (of
            each, instead of a time).
        validate_every: Batches between validations, if the user said so.
        device: Where to train.
        workers: As in `srkit.train`.
        decoded: Told of photos that are decoded.

    Raises:
        InputError: The time is too short for a step of each.
    """
    began, stamp = time.perf_counter(), time.strftime("%Y-%m-%d %H:%M:%S %z")
    budget, steps = asked["time_budget"], asked["steps"]
    allowed = min(MEASURING[0] * budget, MEASURING[1]) if budget else 0.0
    paces, fingerprint = turns.measure(
        chosen, source, folder, device=device, workers=workers, seconds=allowed, decoded=decoded
    )
    measuring = time.perf_counter() - began
    share = None if steps else (budget - measuring) / len(chosen)
    counts = _steps(paces, asked["equal"], share, steps)
    return Schedule(
        study=study.name,
        asked=_plain(asked),
        data=place(source),
        fingerprint=fingerprint,
        share=share,
        measuring=measuring,
        began=stamp,
        machine=machine(device),
        versions=checkpoint.versions(),
        trainings=[
            _training(label, recipe, paces[label], counts[label], validate_every)
            for label, recipe in chosen.items()
        ],
    )


def _steps(
    paces: Mapping[str, Pace], equal: Equal, share: float | None, steps: int | None
) -> dict[str, int]:
    if steps is not None or share is None:
        return dict.fromkeys(paces, steps or 1)
    fixed = {name: _fixed(pace, share) for name, pace in paces.items()}
    each = {name: pace.step * (1 + _saving(pace)) for name, pace in paces.items()}
    if equal == "time":
        found = {name: int((share - fixed[name]) / each[name]) for name in paces}
    else:
        together = share * len(paces) - sum(fixed.values())
        found = dict.fromkeys(paces, int(together / sum(each.values())))
    if min(found.values()) < 1:
        least = max(fixed[name] + each[name] for name in paces) * len(paces)
        raise InputError(
            f"the time budget is too short: measuring leaves {max(0, share) * len(paces):.1f} s "
            f"for {len(paces)} trainings, and they take {least:.1f} s at least"
        )
    return found


def _fixed(pace: Pace, share: float) -> float:
    """Return a training's seconds that don't depend on its steps."""
    return pace.start + _validations(pace, share) * pace.validation + 2 * pace.checkpoint


def _validations(pace: Pace, share: float) -> int:
    return max(1, min(VALIDATIONS, int(VALIDATING * share / pace.validation)))


def _saving(pace: Pace) -> float:
    """Return the seconds of checkpoints for a second of steps."""
    return pace.checkpoint / _between(pace)


def _between(pace: Pace) -> float:
    """Return the seconds between two checkpoints."""
    return max(LOST, pace.checkpoint / SAVING)


def _training(
    label: str, recipe: Recipe, pace: Pace, steps: int, validate_every: int | None
) -> Training:
    count = _validations(pace, steps * pace.step)
    recipe = recipe.changed(
        {"steps": steps, "validate_every": validate_every or math.ceil(steps / count)}
    )
    between = max(1, int(_between(pace) / pace.step))
    return Training(
        label=label, recipe=recipe.to_toml(), steps=steps, checkpoint_every=between, pace=pace
    )


def machine(device: str) -> dict[str, Any]:
    """Return what figures of time depend on."""
    return {
        "device": device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
    }


def device_name(device: str) -> str:
    """Return the name of the processor that trains, as far as it tells."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
