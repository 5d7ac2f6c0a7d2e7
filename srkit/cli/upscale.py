"""``srkit upscale``: files and folders in, files out; no input is ever written over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from srkit.cli import pictures
from srkit.errors import InputError

if TYPE_CHECKING:
    from srkit.upscale import Model


def upscale(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures and folders of pictures.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="A file for one picture, else a folder; beside the input if not given.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model's name, a checkpoint file, or a run.", show_default="faces"),
    ] = None,
    tile: Annotated[int, typer.Option(min=16, help="Side of a tile, in input pixels.")] = 128,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Enlarge pictures. Profile, transparency, resolution and EXIF stay; turned upright."""
    from srkit.models import load

    loaded = load(model, device=device)
    jobs = plan(inputs, out, loaded.scale)
    console = Console(stderr=True)
    noted = False

    def one(_number: int, job: Job) -> list[Path]:
        nonlocal noted
        note = _one(job, loaded, tile)
        if note and not noted:
            pictures.tell(console, note)
            noted = True
        return [job.output]

    pictures.each(jobs, one, "upscale", console, quiet=len(jobs) < 2)


@dataclass(frozen=True)
class Job:
    """One picture and where its result goes."""

    input: Path
    output: Path


def _one(job: Job, model: Model, tile: int) -> str:
    """Enlarge one file; return what the user should know of the result, or ``""``."""
    from srkit import images

    picture = images.read(job.input)
    images.write(model.upscale_picture(picture, tile=tile), job.output, picture.info)
    if model.recipe and max(picture.rgb.size) > 4 * (side := model.recipe.data.size // model.scale):
        return (
            f"model '{model.name}' learned from {side}x{side} pictures; on much larger ones, "
            f"such as {job.input.name}, it sharpens edges but adds no facial detail"
        )
    return ""


def plan(inputs: list[Path], out: Path | None, scale: int) -> list[Job]:
    """Decide where every result goes, before anything is computed.

    A picture ``face.png`` becomes ``face-x4.png`` beside it, a folder ``faces`` the folder
    ``faces-x4`` with the same tree. With ``out``: a single picture goes to that file, if its
    suffix is a picture's, and all else into that folder under its own name.

    Args:
        inputs: Pictures and folders.
        out: As above.
        scale: For the names.

    Raises:
        InputError: An input is missing, or two results, or a result and an input, would meet.
    """
    from srkit import images

    jobs: list[Job] = []
    for given in inputs:
        if given.is_dir():
            root = out or given.resolve().with_name(f"{given.resolve().name}-x{scale}")
            resolved = root.resolve()
            jobs += [
                Job(file, root / file.relative_to(given))
                for file in images.listed(given)
                # A second run must not take the first one's results for inputs.
                if resolved == given.resolve() or resolved not in file.resolve().parents
            ]
            continue
        if not given.is_file():
            raise InputError(f"{given}: no such file or folder")
        suffix = given.suffix.lower() if given.suffix.lower() in images.SUFFIXES else ".png"
        if out is None:
            output = given.with_name(f"{given.stem}-x{scale}{suffix}")
        elif out.suffix.lower() in images.SUFFIXES and not out.is_dir():
            output = out
        else:
            output = out / f"{given.stem}{suffix}"
        if Job(given, output) not in jobs:
            jobs.append(Job(given, output))
    pictures.require_apart(
        ((job.input, [job.output]) for job in jobs),
        elsewhere="with --out",
        instead="rename one, or upscale them one by one",
    )
    return jobs
