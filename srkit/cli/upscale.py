"""``srkit upscale``: pictures in, larger pictures out; no input is ever written over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli.told import Said
from srkit.errors import OptionError

if TYPE_CHECKING:
    from srkit.inference.upscale import Model

GENERAL = "lanczos"  # stands in for a model of general photographs
FACES = "faces"


def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of pictures, patterns like 'in/**/*.jpg'."),
    ],
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
        typer.Option(
            help="A model's name, a checkpoint file, a run, or hf://OWNER/NAME.",
            show_default="faces; with --faces, lanczos",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Enlargement; if not the model's, resampled.", show_default="the model's"
        ),
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Find faces and restore them by --face-model.")
    ] = False,
    faces_only: Annotated[
        bool, typer.Option("--faces-only", help="Write the restored faces, not the picture.")
    ] = False,
    face_model: Annotated[str, typer.Option(help="As --model, for faces.")] = FACES,
    face_least: Annotated[
        int, typer.Option(min=8, help="Smallest face looked for, in input pixels.")
    ] = 8,
    face_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave faces of a lower probability alone.")
    ] = 0.9,
    consistent: Annotated[
        bool,
        typer.Option(
            "--consistent", help="Take out what contradicts the input when reduced again."
        ),
    ] = False,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over 8 turns and flips: 8 times the work.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Measure how far each result is from its input.")
    ] = False,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--format", help="Of results: png, jpg, webp, tif...", show_default="the input's"
        ),
    ] = None,
    tag: Annotated[
        bool,
        typer.Option(
            "--tag/--no-tag", help="Write into each result that, and by what, it was made."
        ),
    ] = True,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing", help="Leave out what was done before, alike and unchanged."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would happen, with time and memory.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what happens as a JSON object a line.")
    ] = False,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do only the I-th of N parts.",
            show_default="torchrun's or the SLURM array's",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Side of a tile, in input pixels.",
            show_default="256, less where memory is short",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16, bf16; half only on GPUs, of 8-bit pictures.")
    ] = "auto",
    backend: Annotated[str, typer.Option(help="torch, or onnx for onnxruntime.")] = "torch",
    cpu_fallback: Annotated[
        bool, typer.Option("--cpu-fallback", help="Go on on the CPU if the device has no memory.")
    ] = False,
) -> None:
    """Enlarge pictures. Alpha, 16 bits, profile, EXIF and resolution stay; turned upright."""
    import torch

    from srkit import batch
    from srkit.batch import share as shares
    from srkit.inference import memory
    from srkit.inference.model import Settings

    faces = faces or faces_only
    settings = Settings(scale, ensemble, consistent, tile)
    part = shares.named(share) if share else shares.of_environment()
    if device == "auto":
        device = shares.local_device(torch.cuda.device_count())
    loaded = _load(model or (GENERAL if faces else FACES), device, precision, backend)
    loaded.limits.fall_back = cpu_fallback
    factor = settings.scale or loaded.scale
    jobs = batch.plan(inputs, out, f"x{factor:g}", _suffix(suffix))
    memory.keep_memory(all_of_it=False)
    work = batch.Work(loaded, settings, faces_only=faces_only, report=report, tag=tag)
    if faces:
        work = replace(work, restorer=_restorer(face_model, device, face_least, face_confidence))
    said = Said(work, part, len(jobs), as_json)
    said.begin(general=faces and model is None)
    if dry_run:
        said.forecast([job for number, job in enumerate(jobs) if number in part])
        return
    with said.progress(jobs) as progress:
        totals = batch.run(
            jobs,
            work,
            share=part,
            skip_existing=skip_existing,
            tell=said.event,
            progress=progress,
        )
    said.end(totals)
    if totals.failed:
        raise typer.Exit(1)


def _load(name: str, device: str, precision: str, backend: str) -> Model:
    from srkit.models.load import load

    return load(name, device=device, precision=precision, backend=backend)


def _restorer(name: str, device: str, least: int, confidence: float) -> Any:
    from srkit.faces.restore import FaceRestorer
    from srkit.models.load import load

    model = load(name, device=device)
    return FaceRestorer(model, least=least, confidence=confidence, device=model.device)


def _suffix(text: str | None) -> str | None:
    from srkit.imaging import formats

    if text is None:
        return None
    suffix = f".{text.lower().removeprefix('.')}"
    if suffix not in formats.WRITABLE:
        raise OptionError(
            f"can't write '{text}', only {', '.join(s[1:] for s in sorted(formats.WRITABLE))}"
        )
    return suffix
