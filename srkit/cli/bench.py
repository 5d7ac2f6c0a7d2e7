"""``srkit bench``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain, product
from json import dumps
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from typer import Argument, Option

from srkit import defaults
from srkit.cli.help import names
from srkit.errors import InputError, Interrupted
from srkit.files import require_place, write_text
from srkit.lines import show, show_error

quality = partial(Option, rich_help_panel="Quality")
identity = partial(Option, rich_help_panel="Identity")
output = partial(Option, rich_help_panel="What is written")
others = partial(Option, rich_help_panel="Other programs")
MODELS = f"Models' names, checkpoint files, runs. [{defaults.MODEL}]"
DATA = "A folder of photos, or celeba. [celeba, unless --verify]"
METRIC = "Further metric, such as niqe or lpips; repeatable."
AUDIT = "Show how the decibels move with what is compared."
VERIFY_DATA = "Its folder or file. [its name under SRKIT_DATA]"
EMBEDDER = f"facenet, dlib or sface; repeatable. [{defaults.EMBEDDER}]"
WEIGHTS = "Its weights, as NAME=FILE of several. [of its own]"
PAIRS = "Genuine pairs sampled. [1000; none of imm]"
WRITE_LR = "Only write the LR images, for another program."
PRECISION = "auto, fp32, bf16, fp16: the models'."
RESULTS = "Score another program's results; repeatable."


def bench(
    models: Annotated[
        list[str] | None, Argument(help=MODELS, autocompletion=names("models"))
    ] = None,
    data: Annotated[str | None, quality(help=DATA)] = None,
    protocol: Annotated[
        str, quality(help="A protocol's name, or a .toml file.")
    ] = defaults.PROTOCOL,
    metric: Annotated[list[str] | None, quality(metavar="NAME", help=METRIC)] = None,
    audit: Annotated[bool, quality("--audit", help=AUDIT)] = False,
    limit: Annotated[int | None, quality(min=1, help="Use only the first N images.")] = None,
    verify: Annotated[str | None, identity(help="A face set: imm, lfw, folders or csv.")] = None,
    verify_data: Annotated[str | None, identity(help=VERIFY_DATA)] = None,
    embedder: Annotated[list[str] | None, identity(metavar="NAME", help=EMBEDDER)] = None,
    embedder_weights: Annotated[list[str] | None, identity(metavar="FILE", help=WEIGHTS)] = None,
    align: Annotated[str, identity(help="Crop faces on hr or sr, or frame them as celeba.")] = "hr",
    people: Annotated[
        int | None, identity(min=0, help="People sampled for the distances. [5]")
    ] = None,
    pairs: Annotated[int | None, identity(min=0, help=PAIRS)] = None,
    lr_sizes: Annotated[str, identity(help="LR sizes of faces, for the curve.")] = "8,12,16,24",
    report: Annotated[
        Path | None, output(metavar="DIR", help="Write a page, charts, JSON and CSV.")
    ] = None,
    json: Annotated[Path | None, output(help="JSON file of everything measured.")] = None,
    write_lr: Annotated[Path | None, others(metavar="DIR", help=WRITE_LR)] = None,
    results: Annotated[list[str] | None, others(metavar="NAME=DIR", help=RESULTS)] = None,
    seed: Annotated[int | None, Option(min=0, help="Seed of noise and sampling. [0]")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, Option(metavar="NAME", help=PRECISION)] = "fp32",
    batch_size: Annotated[int, Option(min=1, help="Images upscaled at once.")] = 64,
) -> None:
    """Measure models: image quality, and how well identity is kept.

    Interpolation stands beside them.

    Examples:
        srkit bench faces --data photos/
        srkit bench faces --verify imm --verify-data imm/ --report report/
    """
    needs_verify: dict[str, object] = {"verify-data": verify_data, "people": people, "pairs": pairs}
    needs_verify |= {"embedder": embedder, "embedder-weights": embedder_weights}
    needs_verify["align"] = None if align == "hr" else align
    for option, value in needs_verify.items():
        if value is not None and not verify:
            raise InputError(f"--{option} needs --verify: imm, lfw, folders or csv")
    if audit and (verify or metric or write_lr or results or report or precision != "fp32"):
        raise InputError("--audit goes with models, --data, --protocol, --limit and --json alone")
    sizes, folders = parse_sizes(lr_sizes), by_name(results or ())
    judges = embedder or [defaults.EMBEDDER]
    weights = weights_of(embedder_weights or (), judges)
    from srkit.data.sources import require_outside
    from srkit.evaluation import run
    from srkit.evaluation.methods import write_lr as write_images
    from srkit.evaluation.protocol import Protocol
    from srkit.models.load import weights_files

    photos, named = [each for each in (data, verify_data) if each], models or []
    read: list[str | Path] = [*photos, *named, *chain.from_iterable(map(weights_files, named))]
    for file in filter(None, (json, report and report / "report.json")):
        require_place(file, [*read, *folders.values(), *weights.values()])
    for folder, source in product(filter(None, (report, write_lr)), photos):
        require_outside(folder, source)
    chosen = Protocol.named(protocol, **({} if seed is None else {"seed": seed}))
    selection: dict[str, Any] = {
        "data": data,
        "protocol": chosen.with_metrics(metric or ()),
        "limit": limit,
        "verify": verify,
        "verify_data": verify_data,
        "people": people,
        "pairs": pairs,
        "lr_sizes": sizes,
        "align": align,
    }
    if write_lr:
        count = write_images(run.lr_images(**selection), write_lr)
        show(f"{write_lr}: {count} images to be upscaled by {chosen.scale}")
        return
    if audit:
        from srkit.evaluation import audit as auditing

        moved = auditing.audit(
            models or [defaults.MODEL],
            data=data or "celeba",
            protocol=chosen,
            limit=limit,
            device=device,
            batch_size=batch_size,
        )
        if json:
            write_text(json, dumps(moved, indent=1))
        Console().print(auditing.tables(moved))
        return
    try:
        result = run.bench(
            models or (),
            **selection,
            embedder=judges,
            embedder_weights=weights,
            results=folders,
            report=report,
            device=device,
            precision=precision,
            batch_size=batch_size,
            command=shlex.join(["srkit", *sys.argv[1:]]),
        )
    except KeyboardInterrupt as error:
        stored = "faces, embeddings and scores are" if report else "faces and embeddings are"
        raise Interrupted(f"interrupted; {stored} stored, and the same command goes on") from error
    for text in result.warnings:
        show_error(f"warning: {text}")
    # The file first: who reads the tables may stop reading them.
    if json:
        result.write(json)
    Console().print(result.tables())
    if report:
        show(report / "index.html")


def weights_of(texts: Sequence[str], embedders: Sequence[str]) -> dict[str, Path]:
    """Return the embedders' weights, by name: each ``NAME=FILE``, or one's file."""
    if len(texts) == len(embedders) == 1 and not texts[0].startswith(f"{embedders[0]}="):
        return {embedders[0]: Path(texts[0])}
    return by_name(texts, "embedder-weights", "FILE")


def by_name(texts: Sequence[str], option: str = "results", what: str = "DIR") -> dict[str, Path]:
    """Return the paths of ``NAME=DIR``, by name; InputError for another form or a name twice."""
    paths: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path:
            raise InputError(f"--{option} is NAME={what}, not '{text}'")
        if name in paths:
            raise InputError(f"--{option}: two are called '{name}'")
        paths[name] = Path(path)
    return paths


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the numbers in ``"8,12,16"``, sorted; InputError for one that isn't 4 or more."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) >= 4 for part in parts):
        raise InputError(f"--lr-sizes is whole numbers from 4 up with commas, not '{text}'")
    return tuple(sorted({int(part) for part in parts}))
