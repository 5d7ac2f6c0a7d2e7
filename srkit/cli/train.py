"""``srkit train``."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from rich.console import Console
from rich.table import Table
from typer import Argument, Option

from srkit import torchrun
from srkit.cli.help import names
from srkit.errors import (
    ElsewhereError,
    InputError,
    Interrupted,
    NameClashError,
    OptionError,
    RecipeError,
    SrkitError,
    UnknownNameError,
    nearest,
    ran_out,
)
from srkit.lines import show

if TYPE_CHECKING:
    from srkit.recipe import Recipe
    from srkit.training.cost import Plan

# Errors that all processes of a run have alike.
COMMON = (RecipeError, UnknownNameError, NameClashError, OptionError, Interrupted)
SOURCES = "Images: a folder, samples, hf:..., shards."
PRECISION = "auto, fp32, bf16, fp16. [the recipe's, mostly auto]"
SET = Option("--set", metavar="PART.OPTION=VALUE", help="Change a value; repeatable.")


@contextmanager
def _reported_once() -> Iterator[None]:
    """Let one process report what all of them raise; make a lack of memory one line."""
    try:
        yield
        _leave()
    except SrkitError as error:
        _leave()
        in_all = isinstance(error, COMMON) and torchrun.number("RANK", 0)
        if in_all or isinstance(error, ElsewhereError):
            raise SystemExit(error.status) from error
        raise
    except Exception as error:
        if not ran_out(error):
            raise
        raise InputError(
            "the device has not enough memory for this: take a smaller --batch-size, or "
            f"--set accumulate=2 to compute it in parts ({str(error).partition(chr(10))[0]})"
        ) from error


def _leave() -> None:
    """Leave the other processes, if there are any."""
    if distributed := sys.modules.get("srkit.training.distributed"):
        distributed.leave()


@_reported_once()
def train(
    recipe: Annotated[
        str, Argument(help="A registered recipe, or a TOML file.", autocompletion=names("recipes"))
    ],
    data: Annotated[str, Option(help=SOURCES)] = "celeba",
    val: Annotated[str | None, Option(help="Validation images, as --data.")] = None,
    out: Annotated[Path | None, Option(help="The run's folder. [runs/RECIPE]")] = None,
    steps: Annotated[int | None, Option(min=1, help="Training steps.")] = None,
    time_budget: Annotated[
        str | None, Option(metavar="TIME", help="Train for 2h, 1h30m...")
    ] = None,
    batch_size: Annotated[int | None, Option(min=1, help="Images per step.")] = None,
    seed: Annotated[int | None, Option(min=0, help="Seed of everything random.")] = None,
    init: Annotated[str | None, Option(metavar="MODEL", help="Start from its weights.")] = None,
    pairs: Annotated[bool, Option("--pairs", help="Real pairs, in folders lr and hr.")] = False,
    precision: Annotated[str | None, Option(help=PRECISION)] = None,
    compiled: Annotated[
        bool, Option("--compile", help="Compile the networks: faster steps.")
    ] = False,
    storage: Annotated[str, Option(help="memory, stream, or auto: what fits.")] = "auto",
    workers: Annotated[int | None, Option(min=0, help="Processes that decode a stream.")] = None,
    checkpoint_every: Annotated[int, Option(min=1, help="Steps between checkpoints.")] = 1000,
    best: Annotated[str, Option(metavar="METRIC", help="Keep the best weights by it.")] = "psnr",
    tensorboard: Annotated[bool, Option("--tensorboard", help="Log for TensorBoard, too.")] = False,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    settings: Annotated[list[str] | None, SET] = None,
    resume: Annotated[
        bool, Option("--resume", help="Continue from the newest checkpoint.")
    ] = False,
    plan: Annotated[bool, Option("--plan", help="Print size, memory, speed; don't train.")] = False,
) -> None:
    """Train a network by a recipe.

    Weights, log and images go to the run's folder.

    Examples:
        srkit train faces-tiny --data samples
        srkit train faces --data photos/ --steps 20000
    """
    from srkit.recipe import Recipe, parse_setting

    if steps and time_budget:
        raise InputError("--steps and --time-budget exclude each other")
    if storage not in (kinds := ("auto", "memory", "stream")):
        known = f"{', '.join(kinds)}, not '{storage}'{nearest(storage, kinds)}"
        raise InputError(f"--storage is one of {known}")
    seconds = None if time_budget is None else parse_time(time_budget)
    values = {
        "steps": steps,
        "batch_size": batch_size,
        "seed": seed,
        "init": init,
        "precision": precision,
        "data.pairs": pairs or None,
    }
    changes = {key: value for key, value in values.items() if value is not None}
    changes |= dict(parse_setting(text) for text in settings or ())
    chosen = Recipe.named(recipe)
    if resume:
        chosen = _begun(chosen, out)
    chosen = chosen.changed(changes)
    if plan:
        from srkit.training.cost import plan as measure

        cost = measure(chosen, device=device, compiled=compiled)
        if not torchrun.number("RANK", 0):
            _print_plan(cost)
        return

    from srkit.training.loop import train as run

    result = run(
        chosen,
        data=data,
        val=val,
        out=out,
        device=device,
        storage=cast(Any, storage),
        workers=workers,
        time_budget=seconds,
        checkpoint_every=checkpoint_every,
        best=best,
        tensorboard=tensorboard,
        compiled=compiled,
        resume=resume,
    )
    if torchrun.number("RANK", 0):
        return  # one process speaks for all
    scores = result.scores
    show(
        f"{result.model}  step {result.step}  PSNR {scores['psnr']:.2f} dB "
        f"({scores['psnr'] - scores['bicubic_psnr']:+z.2f} over bicubic)  SSIM {scores['ssim']:.4f}"
    )


def parse_time(text: str) -> float:
    """Return the seconds in ``"2h"``, ``"90m"``, ``"1h30m"``, ``"45s"`` or ``"45"``.

    Raises:
        InputError: It is no time, or none at all.
    """
    number = r"(\d+\.?\d*|\.\d+)"
    units = f"(?:{number}h)?(?:{number}m)?(?:{number}s)?|{number}"
    match = re.fullmatch(units, text.strip().lower())
    parts = [float(part or 0) for part in match.groups()] if match else []
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1, 1), strict=False))
    if not 0 < seconds < float("inf"):
        raise InputError(f"'{text}' is not a time; write 2h, 90m, 1h30m or 45s")
    return seconds


def _print_plan(plan: Plan) -> None:
    recipe = plan.recipe
    table = Table(box=None, pad_edge=False, show_header=False)
    side = recipe.data.size // recipe.scale
    for network, count in plan.parameters.items():
        table.add_row(f"{network}, parameters", f"{count:,}")
    table.add_row(f"FLOPs to upscale {side}x{side}", f"{plan.flops / 1e9:.3g} G")
    table.add_row("memory of a process", f"{plan.memory / 2**20:,.0f} MiB")
    table.add_row("precision", recipe.precision)
    table.add_row(f"time of a step on {plan.device}", f"{plan.seconds_per_step * 1000:.1f} ms")
    table.add_row("images/s", f"{recipe.batch_size / plan.seconds_per_step:,.0f}")
    hours = datetime.timedelta(seconds=round(recipe.steps * plan.seconds_per_step))
    table.add_row(f"all {recipe.steps:,} steps, without validation", str(hours))
    Console(highlight=False).print(table)


def _begun(wanted: Recipe, out: Path | None) -> Recipe:
    """Return the recipe a run was begun with, so that its settings needn't be given again."""
    from srkit.models import checkpoint
    from srkit.training import run_folder

    file = (out or checkpoint.default_folder(wanted.name)) / run_folder.RECIPE
    if not file.is_file():
        raise InputError(f"{file.parent} holds no run to resume")
    begun = type(wanted).from_file(file)
    if begun.name != wanted.name:
        raise InputError(f"{file.parent} holds a run of '{begun.name}', not of '{wanted.name}'")
    return begun
