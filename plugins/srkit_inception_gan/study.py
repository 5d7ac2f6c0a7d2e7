"""``srkit reproduce paper``: train the four scenarios, bench them, lay the paper beside the result.

The same command goes on where it was interrupted: ``study.json`` keeps how many steps each
scenario does, and a finished training is not done again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import typer

import srkit
from srkit_inception_gan import results
from srkit_inception_gan.paper import SCENARIOS

ROUNDS = 3  # speeds are measured in turns: a slow minute of the machine slows all scenarios alike
HOUR = 3600.0  # speeds are steps within it
MARGIN = 0.95  # share of the time that is planned
PAGE = "report"  # folder
INTERRUPTED = 130  # exit status

app = typer.Typer(
    help="Repeat what a paper trained and measured.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Text: TypeAlias = str | None
Numbers: TypeAlias = list[int] | None


@app.callback(no_args_is_help=True)
def reproduce() -> None:
    """Repeat what a paper trained and measured."""


@app.command()
def paper(
    scenario: Annotated[
        Numbers, typer.Option(min=1, max=4, help="1 to 4; repeatable.", show_default="all")
    ] = None,
    steps: Annotated[
        Numbers, typer.Option(min=1, help="Training steps; repeat it for one a scenario.")
    ] = None,
    time_budget: Annotated[
        Text, typer.Option(help="Time of all trainings, in equal shares.", show_default="2h")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings a scenario.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PART.OPTION=VALUE", help="Change a value; repeatable."),
    ] = None,
    data: Annotated[str, typer.Option(help="Photos with train and test splits.")] = "celeba",
    verify_data: Annotated[
        Text, typer.Option(help="Folder of IMM.", show_default="imm under SRKIT_DATA")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of runs and results.")] = Path("runs/paper"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Train the scenarios of Indradi et al. and lay the paper's tables beside the results."""
    chosen = sorted(set(scenario or SCENARIOS))
    if steps and time_budget:
        raise srkit.InputError("--steps and --time-budget exclude each other")
    if steps and len(steps) not in (1, len(chosen)):
        raise srkit.InputError(
            f"--steps is given once, or once for each of {len(chosen)} scenarios"
        )
    changes = dict(srkit.parse_setting(text) for text in settings or ())
    study = Study(chosen, seeds, changes, data, verify_data, out, device)
    study.require_settings()
    plan = study.plan(steps or [], "" if steps else time_budget or "2h")
    runs = study.runs(plan["steps"])
    for number, run in enumerate(runs, 1):
        _say(f"{number} of {len(runs)}: {run.label}, {run.recipe.steps:,} steps")
        study.train(run)
    _say(f"measuring {len(runs)} models")
    summary = results.summary(study.measure(runs, dict(zip(chosen, plan["speeds"], strict=True))))
    _write(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    _write(out / "summary.md", results.markdown(summary))
    typer.echo(f"{out / 'summary.md'}\n{out / PAGE / 'index.html'}")


class Run(NamedTuple):
    """One training: a scenario with a seed."""

    scenario: int
    seed: int
    label: str
    recipe: srkit.Recipe
    folder: Path


@dataclasses.dataclass(frozen=True)
class Study:
    """What the command was asked for."""

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
                folder = self.out / f"{recipe.name}-seed{seed}"
                runs.append(Run(scenario, seed, label, recipe, folder))
        return runs

    def recipe(self, scenario: int, seed: int, steps: int) -> srkit.Recipe:
        """Return a scenario's recipe; the learning rate is halved in proportion to its length."""
        whole = SCENARIOS[scenario].recipe()
        own = {
            "steps": steps,
            "seed": seed,
            "validate_every": max(500, math.ceil(steps / 20)),
            "optimizer.step_size": max(1, round(whole.optimizer.step_size * steps / whole.steps)),
        }
        return whole.changed(own | {k: v for k, v in self.settings.items() if _fits(whole, k)})

    def plan(self, steps: Sequence[int], budget: str) -> dict[str, Any]:
        """Return ``steps`` and ``speeds`` of each scenario; those of an earlier start, if any.

        Raises:
            SrkitError: The folder holds another study, the time is too short, or something is
                missing that would be missed only after the training.
        """
        options = {key: vars(self)[key] for key in ("scenarios", "seeds", "settings", "data")}
        wanted = {**options, "steps": steps, "time_budget": budget}
        file = self.out / "study.json"
        if not file.is_file():
            seconds = srkit.parse_time(budget) if budget else math.inf
            _say("a short bench, to see that all it needs is there")
            self._bench([], limit=1)
            speeds, fitting = self._speeds(seconds)
            each = [*steps] * len(speeds) if len(steps) == 1 else steps or fitting
            self.out.mkdir(parents=True, exist_ok=True)
            _write(file, json.dumps({"asked": wanted, "steps": each, "speeds": speeds}) + "\n")
        plan: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for key, value in wanted.items():
            if (before := plan["asked"][key]) != value:
                was, now = (shown or "not given" for shown in (before, value))
                raise srkit.InputError(
                    f"{self.out} was begun with {key} {was}, now {now}: ask for the same, or "
                    "choose another --out"
                )
        return plan

    def _speeds(self, budget: float) -> tuple[list[list[int]], list[int]]:
        """Return each scenario's steps an hour, in each round, and its steps within a budget."""
        began, speeds = time.perf_counter(), [list[int]() for _ in self.scenarios]
        for number in range(1, ROUNDS + 1):
            _say(f"measuring speeds, round {number} of {ROUNDS}")
            for scenario, measured in zip(self.scenarios, speeds, strict=True):
                clock = time.perf_counter()
                measured.append(self._steps_an_hour(scenario))
                start = time.perf_counter() - clock  # no training begins faster
            measuring = (time.perf_counter() - began) / number * ROUNDS
            rates = [sum(measured) / number / HOUR for measured in speeds]
            count = len(speeds) * self.seeds
            least = measuring + count * (start + 1 / min(rates)) / MARGIN
            if budget < least:
                raise srkit.InputError(
                    f"--time-budget {budget:g}s is too short: measuring the speeds and a step of "
                    f"{count} trainings take {math.ceil(least)}s here"
                )
        share = (min(budget, 1e9) - measuring) / count * MARGIN - start
        return speeds, [max(1, int(share * rate)) for rate in rates]

    def _steps_an_hour(self, scenario: int) -> int:
        """Begin a training that has an hour, and end it when the number of its steps is known."""
        with tempfile.TemporaryDirectory() as scratch:
            try:
                self._train(
                    self.recipe(scenario, 0, 10_000),
                    Path(scratch) / "run",
                    time_budget=HOUR,
                    report=_end_at_start,
                )
            except _Started as started:
                return started.steps
        raise AssertionError("a training ended before it started")

    def train(self, run: Run) -> None:
        """Train, or go on; nothing is done where the weights of this recipe are there."""
        begun = run.folder / "recipe.toml"
        if (run.folder / "model.safetensors").is_file():
            if srkit.Recipe.from_file(begun) != run.recipe:
                raise srkit.InputError(f"{run.folder} holds another run; choose another --out")
            return
        try:
            self._train(
                run.recipe,
                run.folder,
                checkpoint_every=max(1, run.recipe.steps // 50),
                resume=begun.is_file(),
                report=_validations,
            )
        except srkit.SrkitError as error:
            if error.status == INTERRUPTED:
                step = str(error).partition(",")[0]
                error.args = (f"{run.label}: {step}; the same command goes on",)
            raise

    def _train(self, recipe: srkit.Recipe, out: Path, **options: Any) -> None:
        srkit.train(recipe, out=out, data=self.data, device=self.device, **options)

    def measure(
        self, runs: Sequence[Run], speeds: Mapping[int, Sequence[float]]
    ) -> results.Measured:
        """Bench all trained models, with the page."""
        loaded = {run.label: srkit.load(run.folder, device=self.device) for run in runs}
        models = [dataclasses.replace(model, name=label) for label, model in loaded.items()]
        labels = {0: ["bicubic"] * self.seeds}
        for run in runs:
            labels.setdefault(run.scenario, []).append(run.label)
        steps = {run.scenario: run.recipe.steps for run in runs}
        return results.Measured(labels, steps, speeds, self._bench(models, report=self.out / PAGE))

    def _bench(self, models: Sequence[srkit.Model], **options: Any) -> Any:
        return srkit.bench(
            models,
            data=self.data,
            protocol="paper",
            verify="imm",
            verify_data=self.verify_data,
            device=self.device,
            command=shlex.join(["srkit", *sys.argv[1:]]),
            **options,
        )


class _Started(Exception):  # noqa: N818 - no error
    """A training knows how many steps it does."""

    def __init__(self, steps: int) -> None:
        self.steps = steps


def _end_at_start(record: Mapping[str, Any]) -> None:
    if "start" in record:
        raise _Started(record["steps"])


def _fits(recipe: srkit.Recipe, path: str) -> bool:
    """Return whether a recipe has the part that a setting changes: not all have an adversary."""
    first, _, rest = path.partition(".")
    if first in ("discriminator", "adversarial"):
        return recipe.discriminator is not None
    return first != "losses" or rest.partition(".")[0] in recipe.losses


def _validations(record: Mapping[str, Any]) -> None:
    if scores := record.get("validation"):
        gain = scores["psnr"] - scores["bicubic_psnr"]
        _say(f"  step {record['step']:,}: {scores['psnr']:.2f} dB, {gain:+.2f} over bicubic")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _write(file: Path, text: str) -> None:
    """Write a file that appears only when it is whole."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
