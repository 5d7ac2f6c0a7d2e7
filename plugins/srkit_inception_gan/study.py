"""``srkit reproduce paper``: train the four scenarios, bench them, lay the paper beside the result.

The same command goes on where it was interrupted: ``study.json`` keeps its options, ``steps.json``
how many steps each scenario does.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

from typer import Option, Typer

import srkit
from srkit import foreign
from srkit.batch.ledger import begin
from srkit.errors import Interrupted
from srkit.files import lock, write_text
from srkit.lines import show, show_error
from srkit_inception_gan import results
from srkit_inception_gan.paper import DISTANCE, FRAMED, SCENARIOS

FORMAT = 1  # of the folder
MARGIN = 0.95  # share of the time that is planned
START = 10.0  # seconds of each training that aren't steps
LEAST = 60.0  # seconds of a training
SET = Option("--set", metavar="PART.OPTION=VALUE", help="Change a value; repeatable.")

app = Typer()


@app.callback(no_args_is_help=True)
def reproduce() -> None:
    """Repeat what a paper trained and measured."""


@app.command()
def paper(
    scenario: Annotated[
        list[int] | None, Option(min=1, max=4, help="1 to 4; repeatable. [all]")
    ] = None,
    steps: Annotated[int | None, Option(min=1, help="Training steps a scenario.")] = None,
    time_budget: Annotated[str | None, Option(help="Time of all, in equal shares. [2h]")] = None,
    seeds: Annotated[int, Option(min=1, help="Trainings a scenario.")] = 1,
    settings: Annotated[list[str] | None, SET] = None,
    data: Annotated[str, Option(help="Photos with train and test splits.")] = "celeba",
    verify_data: Annotated[str | None, Option(help="IMM's folder. [imm under SRKIT_DATA]")] = None,
    out: Annotated[Path, Option(help="Folder of runs and results.")] = Path("runs/paper"),
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Train the paper's four scenarios and compare with its tables.

    Examples:
        srkit reproduce paper --time-budget 4h --seeds 2
        srkit reproduce paper --scenario 1 --scenario 4 --steps 3000
    """
    chosen = sorted(set(scenario or SCENARIOS))
    if steps and time_budget:
        raise srkit.InputError("--steps and --time-budget exclude each other")
    changes = dict(srkit.parse_setting(text) for text in settings or ())
    study = Study(chosen, seeds, changes, data, verify_data, out, device)
    budget = "" if steps else time_budget or "2h"
    study.require_settings()
    with lock(out):
        runs = study.runs(study.plan(steps, budget))
        if seeds == 1:
            show_error("one seed: no claim can be decided; --seeds 2 trains everything twice")
        for number, run in enumerate(runs, 1):
            show_error(f"{number} of {len(runs)}: {run.label}, {run.recipe.steps:,} steps")
            study.train(run)
        show_error(f"measuring {len(runs)} models")
        summary = results.summary(study.measure(runs))
        write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
        write_text(out / "summary.md", results.markdown(summary))
    show(out / "summary.md")
    show(out / "report" / "index.html")


class Run(NamedTuple):
    """One training: a scenario with a seed."""

    scenario: int
    label: str
    recipe: srkit.Recipe
    folder: Path


@dataclass(frozen=True)
class Study:
    """The options of the command."""

    scenarios: Sequence[int]
    seeds: int
    settings: Mapping[str, Any]
    data: str
    verify_data: str | None
    out: Path
    device: str

    def require_settings(self) -> None:
        """Refuse a setting that is wrong, that no scenario has, or that the study decides."""
        recipes = [SCENARIOS[scenario].recipe() for scenario in self.scenarios]
        for path in self.settings:
            if path in ("steps", "seed", "name"):
                raise srkit.InputError(f"--set {path}: the study decides that")
            if not any(_fits(recipe, path) for recipe in recipes):
                raise srkit.InputError(f"--set {path}: no chosen scenario has such a part")
        self.runs([1] * len(recipes))

    def runs(self, steps: Sequence[int]) -> list[Run]:
        """Return all trainings, given the steps of each scenario."""
        runs = []
        for scenario, count in zip(self.scenarios, steps, strict=True):
            for seed in range(self.seeds):
                recipe = self.recipe(scenario, seed, count)
                label = SCENARIOS[scenario].label + (f", seed {seed}" if self.seeds > 1 else "")
                runs.append(Run(scenario, label, recipe, self.out / f"{recipe.name}-seed{seed}"))
        return runs

    def recipe(self, scenario: int, seed: int, steps: int) -> srkit.Recipe:
        """Return a scenario's recipe; the learning rate is halved in proportion to its length."""
        whole = SCENARIOS[scenario].recipe()
        own = {
            "precision": "fp32",  # the same study on every machine
            "steps": steps,
            "seed": seed,
            "validate_every": max(500, math.ceil(steps / 20)),
            "optimizer.step_size": max(1, round(whole.optimizer.step_size * steps / whole.steps)),
        }
        return whole.changed(own | {k: v for k, v in self.settings.items() if _fits(whole, k)})

    def plan(self, steps: int | None, budget: str) -> list[int]:
        """Return the steps of each scenario; those of an earlier start, if any."""
        options = {key: vars(self)[key] for key in ("scenarios", "seeds", "settings", "data")}
        options |= {"steps": steps, "time_budget": budget}
        trainings = len(self.scenarios) * self.seeds
        if budget and srkit.parse_time(budget) < LEAST * trainings:
            least = f"a minute or more: give {math.ceil(LEAST * trainings / 60)}m at least"
            what = f"too short for {trainings} trainings of {least}"
            raise srkit.InputError(f"--time-budget {budget} is {what}")
        stored = self.out / "steps.json"
        if stored.is_file():
            begin(self.out / "study.json", options, FORMAT)
            return foreign.read(stored, list[int], "JSON")
        show_error("a short bench, to see that all it needs is there")
        self._bench([], data=self.data, limit=1)
        each = [steps] * len(self.scenarios) if steps else self._steps_within(budget)
        begin(self.out / "study.json", options, FORMAT)
        write_text(stored, json.dumps(each) + "\n")
        return each

    def _steps_within(self, budget: str) -> list[int]:
        """Measure each scenario; return how many of its steps fit into its share of the time."""
        times = []
        for scenario in self.scenarios:
            show_error(f"measuring the speed of scenario {scenario}")
            recipe = self.recipe(scenario, 0, 10_000)
            times.append(srkit.plan(recipe, device=self.device).seconds_per_step)
        slowest, trainings = max(times), len(self.scenarios) * self.seeds
        share = srkit.parse_time(budget) * MARGIN / trainings - START
        steps = 1 if share < slowest else results.LEAST_STEPS
        needed = f"{math.ceil((START + steps * slowest) * trainings / MARGIN / 60)}m"
        if share < slowest:
            what = f"too short: a step takes {slowest:.1f} s; give {needed} at least"
            raise srkit.InputError(f"--time-budget {budget} is {what}")
        if share < steps * slowest:
            what = f"{steps:,} steps of each scenario, here a time budget of {needed}"
            show_error(f"claims need {what}")
        return [int(share / a_step) for a_step in times]

    def train(self, run: Run) -> None:
        """Train, or go on; a finished training is only validated again."""
        resume, every = (run.folder / "recipe.toml").is_file(), max(1, run.recipe.steps // 50)
        where: dict[str, Any] = {"data": self.data, "out": run.folder, "device": self.device}
        try:
            srkit.train(run.recipe, **where, checkpoint_every=every, resume=resume)
        except Interrupted as error:
            what = f"{run.label}: {str(error).partition(',')[0]}"
            raise Interrupted(f"{what}; the same command goes on") from error

    def measure(self, runs: Sequence[Run]) -> results.Measured:
        """Bench all trained models, with the page."""
        models = [replace(srkit.load(r.folder, device=self.device), name=r.label) for r in runs]
        labels = {s: [run.label for run in runs if run.scenario == s] for s in self.scenarios}
        labels = {0: ["bicubic"] * self.seeds, **labels}
        steps = {run.scenario: run.recipe.steps for run in runs}
        speeds = {run.label: _steps_an_hour(run) for run in runs}
        report = self._bench(models, data=self.data, report=self.out / "report")
        framed = self._bench(models, align="celeba")
        identity = {DISTANCE: report.everybody, FRAMED: framed.everybody}
        return results.Measured(labels, steps, speeds, report, identity)

    def _bench(self, models: Sequence[srkit.Model], **options: Any) -> Any:
        return srkit.bench(
            models,
            protocol="paper",
            verify="imm",
            verify_data=self.verify_data,
            device=self.device,
            command=shlex.join(["srkit", *sys.argv[1:]]),
            **options,
        )


def _fits(recipe: srkit.Recipe, path: str) -> bool:
    """Return whether a recipe has the part that a setting changes: not all have an adversary."""
    part, _, rest = path.partition(".")
    if part == "losses":
        return rest.partition(".")[0] in recipe.losses
    return part == "init" or getattr(recipe, part, None) is not None


def _steps_an_hour(run: Run) -> int:
    """Return a training's speed: the median over its log, which a slow minute doesn't change."""
    lines = (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    speeds = filter(None, (json.loads(line).get("images_per_second") for line in lines))
    return int(median(speeds) / run.recipe.batch_size * 3600)
