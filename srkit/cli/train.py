"""``srkit train``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from srkit.errors import InputError, SrkitError

if TYPE_CHECKING:
    from srkit.recipe import Recipe


def train(
    recipe: Annotated[str, typer.Argument(help="A registered recipe, or a TOML file.")],
    data: Annotated[
        str, typer.Option(help="Folder of photos, a data set's name, or 'samples'.")
    ] = "celeba",
    val: Annotated[str | None, typer.Option(help="Folder of held-out photos.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder.", show_default="runs/RECIPE")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Batches in all.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures a batch.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every random draw.")] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Batches.")] = 1000,
    log_every: Annotated[int, typer.Option(min=1, help="Batches.")] = 50,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PART.OPTION=VALUE", help="Change one value; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint.")
    ] = False,
) -> None:
    """Train a recipe; weights, log and picture grids go to the run's folder."""
    from srkit import registry
    from srkit.recipe import Recipe, parse_setting

    changes: dict[str, Any] = {
        key: value
        for key, value in (("steps", steps), ("batch_size", batch_size), ("seed", seed))
        if value is not None
    }
    changes |= dict(parse_setting(text) for text in settings or ())
    file = Path(recipe)
    if file.suffix == ".toml" or file.is_file():
        chosen = Recipe.from_file(file)
    else:
        chosen = registry.build("recipes", recipe)
    if resume:
        chosen = _begun(chosen, out)
    chosen = chosen.changed(changes)

    from srkit.train import train as run

    with Display(Console(stderr=True)) as display:
        result = run(
            chosen,
            data=data,
            val=val,
            out=out,
            device=device,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
            resume=resume,
            report=display,
        )
    scores = result.scores
    print(  # noqa: T201
        f"{result.model}  step {result.step}  PSNR {scores['psnr']:.2f} dB "
        f"({scores['psnr'] - scores['bicubic_psnr']:+.2f} over bicubic)  SSIM {scores['ssim']:.4f}"
    )


def _begun(asked: Recipe, out: Path | None) -> Recipe:
    """Return the recipe a run was begun with, so that its settings needn't be given again."""
    from srkit import runs

    file = (out or runs.default_folder(asked.name)) / runs.RECIPE
    if not file.is_file():
        raise InputError(f"{file.parent} holds no run to resume")
    begun = type(asked).from_file(file)
    if begun.name != asked.name:
        raise InputError(f"{file.parent} holds a run of '{begun.name}', not of '{asked.name}'")
    return begun


class Display:
    """Shows records of a run as a progress line, and validations as lines that stay."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("[bold]train"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self.task is not None:
            self.progress.stop()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Show one record."""
        if "start" in record:
            self._start(record)
            return
        if self.task is None:
            raise SrkitError("a record came before the start")
        fields: dict[str, Any] = {}
        if "losses" in record:
            losses = record["losses"]
            shown = [n for n in losses if not n.startswith("d_") or n == "d_accuracy"]
            fields["losses"] = " ".join(f"{name} {losses[name]:.4g}" for name in shown)
            fields["speed"] = f"{record['pictures_per_second']:.0f} pictures/s"
        self.progress.update(self.task, completed=record["step"], **fields)
        if scores := record.get("validation"):
            self.console.print(
                f"step {record['step']}: PSNR {scores['psnr']:.2f} dB "
                f"({scores['psnr'] - scores['bicubic_psnr']:+.2f} over bicubic), "
                f"SSIM {scores['ssim']:.4f} ({scores['bicubic_ssim']:.4f})",
                highlight=False,
            )

    def _start(self, record: Mapping[str, Any]) -> None:
        self.console.print(
            f"{record['photos']} photos, {record['held_out']} held out, on {record['device']}; "
            f"bicubic has {record['bicubic_psnr']:.2f} dB; writing to {record['out']}",
            highlight=False,
            markup=False,
        )
        if record["broken"]:
            self.console.print(
                f"left out {len(record['broken'])} broken pictures: {'; '.join(record['broken'])}",
                highlight=False,
                markup=False,
            )
        self.progress.start()
        self.task = self.progress.add_task(
            "train", total=record["steps"], completed=record["start"], losses="", speed=""
        )
