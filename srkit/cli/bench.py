"""``srkit bench``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from srkit import defaults
from srkit.cli.benching import (
    by_name,
    chosen_protocol,
    parse_sides,
    refuse,
    see_writable,
    shown,
)
from srkit.errors import Interrupted

QUALITY, IDENTITY = "Quality", "Identity"
OUTPUT, OTHERS = "What is written", "Other programs"


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models' names, checkpoint files, runs.", show_default=defaults.MODEL),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder of photos, or celeba.",
            show_default="celeba; none with --verify",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="A protocol's name, or a .toml file.",
            rich_help_panel=QUALITY,
        ),
    ] = defaults.PROTOCOL,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Measure this too: lpips, dists, fid, kid; repeatable.",
            rich_help_panel=QUALITY,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Use only the first N images.", rich_help_panel=QUALITY),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            help="A face set: imm, lfw, folders or csv.",
            rich_help_panel=IDENTITY,
        ),
    ] = None,
    verify_data: Annotated[
        str | None,
        typer.Option(
            help="Its folder or file.",
            show_default="its name under SRKIT_DATA",
            rich_help_panel=IDENTITY,
        ),
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="A registered embedder.", rich_help_panel=IDENTITY)
    ] = defaults.EMBEDDER,
    embedder_weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights.",
            show_default="SRKIT_FACENET_WEIGHTS, or vggface2",
            rich_help_panel=IDENTITY,
        ),
    ] = None,
    align: Annotated[
        str,
        typer.Option(
            help="Find faces on the hr photo, or on each sr.",
            rich_help_panel=IDENTITY,
        ),
    ] = "hr",
    people: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="People listed one by one.",
            show_default="the face set's: 5",
            rich_help_panel=IDENTITY,
        ),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many same pairs.",
            show_default="1000; of imm none",
            rich_help_panel=IDENTITY,
        ),
    ] = None,
    sides: Annotated[
        str,
        typer.Option(
            help="LR sizes of the curve over sizes.",
            rich_help_panel=IDENTITY,
        ),
    ] = "8,12,16,24",
    size_pairs: Annotated[
        int,
        typer.Option(
            min=2, help="How many same pairs that curve rests on.", rich_help_panel=IDENTITY
        ),
    ] = 150,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="An HTML page, its figures and the JSON.", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="A file of everything measured.", rich_help_panel=OUTPUT)
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Every single score: .csv, .parquet.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    write_lr: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Only write the LR images, for another program.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    results: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="Score what it made of them, as a column; repeatable.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of noise and draws.", show_default="0"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode.", show_default="one a core")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures enlarged at once.")] = 64,
) -> None:
    """Measure models beside interpolation: quality, and whether faces stay the same person's."""
    from srkit.evaluation import run
    from srkit.evaluation import scores as single
    from srkit.evaluation.results import write_lr as write_pictures

    command = shlex.join(["srkit", *sys.argv[1:]])
    faces = None
    if verify:
        faces = run.Faces(
            verify,
            verify_data,
            embedder,
            embedder_weights,
            align,
            people,
            pairs,
            parse_sides(sides),
            size_pairs,
        )
    else:
        of_faces = {
            "--verify-data": verify_data,
            "--embedder-weights": embedder_weights,
            "--people": people,
            "--pairs": pairs,
        }
        refuse(of_faces, "needs --verify: imm, lfw, folders or csv")
    chosen = chosen_protocol(protocol, seed, metric or [])
    where: dict[str, Any] = {
        "data": data,
        "protocol": chosen,
        "limit": limit,
        "workers": workers,
    }
    if write_lr:
        count = write_pictures(run.lr_pictures(**where, faces=faces), write_lr)
        print(f"{write_lr}: {count} pictures to be enlarged by {chosen.scale}")  # noqa: T201
        return
    see_writable({"--report": report, "--json": json, "--scores": scores})
    if scores:
        single.check(scores)
    others = by_name("--results", results or ())
    try:
        with shown() as progress:
            found = run.bench(
                models or (),
                **where,
                verify=faces,
                others=others,
                device=device,
                batch_size=batch_size,
                report=report,
                command=command,
                progress=progress,
            )
    except KeyboardInterrupt as error:
        kept = "faces, embeddings and scores are" if report else "faces and embeddings are"
        raise Interrupted(f"interrupted; {kept} kept, and the same command goes on") from error
    for text in found.warnings:
        print(f"srkit: warning: {text}", file=sys.stderr)  # noqa: T201
    # Files first: who reads the tables may stop reading them.
    if json:
        found.write(json)
    if scores:
        single.write(found, scores)
    Console().print(found.tables())
    if report:
        print(report / "index.html")  # noqa: T201
