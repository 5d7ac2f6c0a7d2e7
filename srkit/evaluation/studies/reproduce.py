"""Repeat a study: train its scenarios, bench them, and lay the result beside what was published.

Every step leaves a file, and a second start with the same command goes on from there: the schedule
(``study.json``), each training (checkpoints about every 45 seconds), what was measured, the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import InputError, Interrupted, nearest
from srkit.evaluation.studies import outcome, schedule, variants
from srkit.evaluation.studies.schedule import Schedule, Training
from srkit.evaluation.studies.study import Study
from srkit.inference.device import device_named
from srkit.models import checkpoint
from srkit.recipe import Recipe
from srkit.training import run_folder
from srkit.training.loop import train

if TYPE_CHECKING:
    from srkit.evaluation.inputs import Faces

Report = Callable[[Mapping[str, Any]], None]
Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Judged:
    """What the trained scenarios are measured on, and by whom; see `reproduce`."""

    data: str | Path
    verify_data: str | Path | None
    embedder: str
    weights: str | Path | None
    workers: int | None
    seed: int

    def faces(self, study: Study) -> Faces | None:
        """Return whose faces are compared; None where the study compares none."""
        from srkit.evaluation.inputs import Faces

        if not study.face_set:
            return None
        return Faces(
            study.face_set,
            self.verify_data,
            self.embedder,
            self.weights,
            people=study.people,
            pairs=0,
        )


def reproduce(
    study: str | Path,
    *,
    data: str | Path = "celeba",
    verify_data: str | Path | None = None,
    out: Path | None = None,
    time_budget: float | None = None,
    equal: str = "time",
    steps: int | None = None,
    settings: Mapping[str, Any] | None = None,
    embedder: str = "facenet",
    embedder_weights: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    seed: int = 0,
    command: str = "",
    report: Report = lambda record: None,
    say: Say = lambda text: None,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """Train a study's scenarios one after the other, bench them, and write the report.

    Args:
        study: A registered study, or a TOML file.
        data: Photos to train on and to test on: a data set with a ``test`` split.
        verify_data: Folder of the study's face set; one of its name under ``SRKIT_DATA`` if None.
        out: Folder of all runs and of the report; ``runs/NAME`` if None. One that holds a begun
            study of the same kind is gone on with.
        time_budget: Seconds for all trainings together, the measuring of their speeds included;
            the study's own if None.
        equal: Give every training the same ``time``, or the same number of ``batches``.
        steps: Batches of each training, instead of a time.
        settings: Changes of the recipes by dotted path, as `Recipe.changed` takes them; each
            recipe gets those that it has parts for.
        embedder: A registered embedder.
        embedder_weights: Its ``weights`` option.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        workers: Processes or threads that decode.
        seed: Of weights, order, noise and draws.
        command: What repeats it, for the page.
        report: Called as `srkit.train` calls its own.
        say: Told in a line what is done next.
        progress: Told what of the bench is done, how much, and of how much.

    Returns:
        The report's ``index.html``.

    Raises:
        SrkitError: Something can't be had, read or written; the folder holds another study; the
            time is too short; training was interrupted.
    """
    if equal not in (kinds := ("time", "batches")):
        raise InputError(f"equal is {' or '.join(kinds)}, not '{equal}'{nearest(equal, kinds)}")
    its = Study.named(study)
    out = out or checkpoint.default_folder(its.name)
    chosen = variants.recipes(its, settings or {}, seed)
    judged = Judged(data, verify_data, embedder, embedder_weights, workers, seed)
    _check(its, chosen, judged)
    asked = {
        "time_budget": None if steps else (time_budget or its.time_budget),
        "equal": equal,
        "steps": steps,
        "settings": dict(settings or {}),
        "seed": seed,
        "device": _device(device),
    }
    plan = _scheduled(its, chosen, out, asked, data, device, workers, report, say)
    for number, training in enumerate(plan.trainings, 1):
        say(f"{number} of {len(plan.trainings)}: {training.label}, {training.steps:,} batches")
        train_one(training, out, data=data, device=device, workers=workers, report=report)
    say("training is done; measuring")
    bench = outcome.measured(
        its, plan, out, judged, device=device, command=command, progress=progress
    )
    return outcome.write(its, plan, out, bench)


def _device(device: str) -> str:
    found = device_named(device)
    return found.type if found.index is None else str(found)


def _scheduled(
    study: Study,
    chosen: Mapping[str, Recipe],
    out: Path,
    asked: Mapping[str, Any],
    data: str | Path,
    device: str,
    workers: int | None,
    report: Report,
    say: Say,
) -> Schedule:
    """Return the folder's schedule; make one where there is none."""
    if asked["steps"] and asked["equal"] == "time":
        asked = {**asked, "equal": "batches"}
    found = Schedule.read(out)
    if found is not None:
        found.require_same(study, asked, schedule.place(data))
        say(f"going on with {out}, begun {found.began}")
        return found
    if taken := [t for t in (folder(out, recipe) for recipe in chosen.values()) if t.exists()]:
        raise InputError(f"{taken[0]} is there, but no {schedule.FILE}; choose another --out")
    say(f"measuring {len(chosen)} recipes in turns")
    made = schedule.make(
        study,
        chosen,
        out,
        source=data,
        asked=asked,
        validate_every=asked["settings"].get("validate_every"),
        device=device,
        workers=workers,
        decoded=lambda done, total: report({"decoded": done, "of": total}),
    )
    made.write(out)
    for training in made.trainings:
        say(f"{training.label}: {training.pace.step:.3g} s a batch, {training.steps:,} batches")
    return made


def folder(out: Path, recipe: Recipe) -> Path:
    """Return where a scenario's run lies."""
    return out / recipe.name


def train_one(
    training: Training,
    out: Path,
    *,
    data: str | Path,
    device: str,
    workers: int | None,
    report: Report,
) -> None:
    """Train one scenario, or go on with it; nothing is done where its weights are there.

    Raises:
        SrkitError: As `srkit.train`; where it was interrupted, it says how to go on.
    """
    recipe = training.complete()
    run = folder(out, recipe)
    if (run / checkpoint.MODEL).is_file():
        return
    try:
        train(
            recipe,
            data=data,
            out=run,
            device=device,
            workers=workers,
            checkpoint_every=training.checkpoint_every,
            resume=(run / run_folder.RECIPE).is_file(),
            report=report,
        )
    except Interrupted as error:
        step = str(error).partition(",")[0]
        error.args = (f"{training.label}: {step}; the same command goes on",)
        raise


def _check(study: Study, chosen: Mapping[str, Recipe], judged: Judged) -> None:
    """See that all that is wanted after hours of training is there.

    Raises:
        SrkitError: It isn't.
    """
    from srkit.evaluation import inputs

    protocol = study.its_protocol(judged.seed)
    for label, recipe in chosen.items():
        if recipe.scale != protocol.scale:
            raise InputError(
                f"'{label}' enlarges by {recipe.scale}, protocol '{protocol.name}' by "
                f"{protocol.scale}"
            )
    inputs.photos(judged.data)
    if (faces := judged.faces(study)) is not None:
        inputs.people(faces, protocol)
        faces.judge()
