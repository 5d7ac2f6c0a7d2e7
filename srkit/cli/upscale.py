"""``srkit upscale``: images in, larger images out; no input is ever written over."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from srkit import defaults
from srkit.cli.help import names
from srkit.errors import InputError, OptionError

if TYPE_CHECKING:
    from srkit.batch.jobs import Job
    from srkit.batch.run import Event

INPUTS = "Images, folders, patterns like 'in/**/*.jpg'; - is a pipe."
MODEL = f"A name, a file, a run, or hf://OWNER/NAME. [{defaults.MODEL}]"
CONSISTENT = "Back-project: the downscaled result equals the input."
ENSEMBLE = "Average over the model's symmetries, such as mirroring."
FORCE = "Write over files beside the inputs; --out always does."
FORMAT = Option("--format", help="Format of results: png, jpg, webp... [the input's]")


def upscale(
    inputs: Annotated[list[str], Argument(help=INPUTS)],
    out: Annotated[
        Path | None, Option("--out", "-o", help="A file or - for one image, else a folder.")
    ] = None,
    model: Annotated[str | None, Option(help=MODEL, autocompletion=names("models"))] = None,
    scale: Annotated[float | None, Option(help="Scale of the results. [the model's]")] = None,
    faces: Annotated[
        bool, Option("--faces", help="Find faces and restore them by --face-model.")
    ] = False,
    faces_only: Annotated[
        bool, Option("--faces-only", help="Write the restored faces, not the image.")
    ] = False,
    face_model: Annotated[
        str | None, Option(help="Model of the faces, as --model. [faces]")
    ] = None,
    min_face_size: Annotated[
        int, Option(min=8, help="Smallest face to find, in input pixels.")
    ] = 8,
    consistent: Annotated[bool, Option("--consistent", help=CONSISTENT)] = False,
    ensemble: Annotated[bool, Option("--ensemble", help=ENSEMBLE)] = False,
    report: Annotated[
        bool, Option("--report", help="Measure how far each result is from its input.")
    ] = False,
    suffix: Annotated[str | None, FORMAT] = None,
    no_tag: Annotated[
        bool, Option("--no-tag", help="Don't embed provenance (IPTC source type, model).")
    ] = False,
    keep_time: Annotated[
        bool, Option("--keep-time", help="Give results the modification time of inputs.")
    ] = False,
    skip_existing: Annotated[
        bool, Option("--skip-existing", help="Skip images that are done and unchanged.")
    ] = False,
    force: Annotated[bool, Option("--force", help=FORCE)] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only list what would be written.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print events as JSON lines.")] = False,
    shard: Annotated[
        str | None, Option(metavar="I/N", help="Only the I-th of N parts. [torchrun's]")
    ] = None,
    tile: Annotated[
        int | None, Option(min=16, help="Side of a tile, in input pixels. [256 to 512, if it fits]")
    ] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, Option(help="auto, fp32, bf16, fp16.")] = "auto",
    engine: Annotated[str, Option(help="auto, onnxruntime, openvino, torch.")] = "auto",
) -> None:
    """Upscale image files, or restore the faces in photos.

    Colours, transparency, 16 bits and metadata are kept.

    Examples:
        srkit upscale photo.jpg
        srkit upscale album/ --out large/ --faces
    """
    from srkit.batch.jobs import Shard, plan
    from srkit.batch.run import run
    from srkit.batch.work import Work
    from srkit.cli.reporter import Reporter
    from srkit.imaging.formats import suffix_named
    from srkit.inference.model import Settings

    if face_model and not (faces or faces_only):
        raise InputError("--face-model needs --faces or --faces-only")
    part = Shard.of(shard)
    work = Work.load(
        model,
        Settings(scale, ensemble, consistent, tile),
        face_model=(face_model or defaults.MODEL) if faces or faces_only else None,
        min_face_size=min_face_size,
        device=device,
        precision=precision,
        engine=engine,
        faces_only=faces_only,
        report=report,
        tag=not no_tag,
        keep_time=keep_time,
    )
    label, ending = f"x{scale or work.model.scale:g}", suffix_named(suffix) if suffix else None
    others: list[Path] = []
    if "-" in inputs or str(out) == "-":
        jobs = [piped(inputs, out, ending)]
    else:
        jobs = plan(inputs, out, label, ending, others)
    own = part.take(jobs)
    stdout, quiet = sys.stdout, jobs[0].piped
    messages = sys.stderr if as_json or dry_run else io.StringIO()
    with redirect_stdout(messages if quiet else stdout):
        reporter = Reporter(work, part, len(jobs), as_json)
        reporter.begin(general=faces and not faces_only and model is None)
        reporter.ignored(others)
        if dry_run:
            reporter.plan(own)
            return
        safe = out or force or skip_existing or quiet
        there = [] if safe else [job for job in own if os.path.lexists(job.output)]
        if there:
            more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
            how = "--force writes over it, --skip-existing keeps what is done"
            raise InputError(f"{there[0].output}{more} there already; {how}")

        def report_on(event: Event) -> None:
            reporter.event(event)
            stdout.buffer.write(event.encoded)
            stdout.buffer.flush()

        with reporter.progress(len(own)) as progress:
            totals = run(
                jobs,
                work,
                shard=part,
                skip_existing=skip_existing,
                on_event=report_on if quiet else reporter.event,
                progress=progress,
            )
        reporter.end(totals)
        if totals["failed"]:
            raise typer.Exit(1)


def piped(inputs: list[str], out: Path | None, suffix: str | None) -> Job:
    """Return the job of one image from standard input, to standard output, or both."""
    from srkit.batch.jobs import Job, of_file, writable_suffix
    from srkit.imaging.formats import suffix_of

    if len(inputs) > 1 or not (inputs[0] == "-" or Path(inputs[0]).is_file()):
        raise OptionError("'-' is for one image")
    source, content = Path(inputs[0]), None
    ending = writable_suffix(source)
    to_stdout = out is None or str(out) == "-"
    if (inputs[0] == "-" and not sys.stdin) or (to_stdout and not sys.stdout):
        raise OptionError("'-' is standard input or output, and that is closed")
    if inputs[0] == "-":
        content = sys.stdin.buffer.read()
        ending = suffix_of(content)
    if not to_stdout:
        job = of_file(Path(f"stdin{ending}"), out, "", suffix)
        return replace(job, input=source, encoded=content)
    if sys.stdout.isatty():
        raise OptionError("an image isn't for a terminal; name a file by --out")
    return Job(source, Path(f"-{suffix or ending}"), encoded=content, piped=True)
