"""``srkit prepare``: a folder of photographs in, aligned faces out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit.lines import show, show_error
from srkit.progress import Bars
from srkit.readahead import cpus

if TYPE_CHECKING:
    from srkit_prepare.run import Summary

# Each process holds a torch of its own: half a gigabyte.
MOST_WORKERS = 8


def prepare(
    photos: Annotated[Path, typer.Argument(help="Folder of photographs, with the folders in it.")],
    out: Annotated[Path, typer.Argument(help="Folder for the faces and their manifest.")],
    width: Annotated[
        int, typer.Option(min=16, max=4096, help="Width of a crop in pixels; 178 gives 178x218.")
    ] = 178,
    min_face_size: Annotated[
        int, typer.Option(min=12, help="Smallest face to find, in pixels of the photo.")
    ] = 40,
    confidence: Annotated[
        float,
        typer.Option(min=0, max=1, help="Lowest detection probability.", show_default="0.9"),
    ] = 0.9,
    max_upscale: Annotated[
        float,
        typer.Option(min=0, help="Reject faces that would be upscaled more.", show_default="1.0"),
    ] = 1.0,
    max_outside: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Reject faces with more of the crop outside.", show_default="0.2"
        ),
    ] = 0.2,
    largest_only: Annotated[
        bool, typer.Option("--largest-only", help="Reject all but the largest face of a photo.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes.", show_default="one a core, at most 8")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Cut faces out of photos, aligned as in CelebA.

    The same command goes on after an interruption, or updates the faces.

    Examples:
        srkit prepare photos/ faces/
        srkit prepare photos/ faces/ --width 356 --largest-only
    """
    from srkit_prepare.run import Settings
    from srkit_prepare.run import prepare as run

    settings = Settings(
        width=width,
        min_face_size=min_face_size,
        confidence=confidence,
        max_upscale=max_upscale,
        max_outside=max_outside,
        largest_only=largest_only,
    )
    workers = workers or min(cpus(), MOST_WORKERS)
    with Bars() as bars:
        report = partial(bars, "prepare")
        summary = run(photos, out, settings, workers=workers, device=device, report=report)
    for line in summary.unreadable:
        show_error(line)
    if not summary.written and "too small" in summary.rejected:
        show_error("a smaller --width or a larger --max-upscale admits smaller faces")
    show(_line(summary))
    if summary.unreadable or not summary.written:
        raise typer.Exit(1)


def _line(summary: Summary) -> str:
    rejected = f"{sum(summary.rejected.values())} rejected"
    if summary.rejected:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.rejected.items())
        rejected += f" ({reasons})"
    photos = f"{summary.photos} photos"
    if summary.done_before:
        photos += f" ({summary.done_before} done before)"
    parts = [photos, f"{summary.written} faces written", rejected]
    if summary.no_face:
        parts.append(f"{summary.no_face} without a face")
    if summary.removed:
        parts.append(f"{summary.removed} gone and removed")
    parts.append(f"{len(summary.unreadable)} unreadable")
    return f"{', '.join(parts)}; see {summary.manifest}"
