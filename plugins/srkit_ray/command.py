"""``srkit upscale-dataset``: a data set in, larger images in shards out."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from srkit import InputError


class Kind(StrEnum):
    """Kinds of shards that are written."""

    TAR = "tar"
    PARQUET = "parquet"


def upscale_dataset(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN", help="Folder of images, tar archives or Parquet; or 'in/*.tar'."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for shards and their manifests.")],
    model: Annotated[
        str | None,
        typer.Option(help="A name, a file, a run, or hf://OWNER/NAME.", show_default="faces"),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Scale of the results.", show_default="the model's")
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Find faces and restore only them by a network.")
    ] = False,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--format", help="Format of results: png, jpg, webp...", show_default="the input's"
        ),
    ] = None,
    to: Annotated[
        Kind | None,
        typer.Option(help="Kind of shards: tar or parquet.", show_default="the input's, or tar"),
    ] = None,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Images of a shard, of a folder of images.")
    ] = 1000,
    column: Annotated[
        str | None, typer.Option(help="Parquet column of images.", show_default="image")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes.", show_default="one a GPU, or a CPU")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster: auto, HOST:PORT.", show_default="RAY_ADDRESS, or this machine"
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16.")] = "auto",
    engine: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, torch.")] = "auto",
) -> None:
    """Upscale a data set of images on many machines, by Ray.

    The same command goes on after an interruption.

    Examples:
        srkit upscale-dataset photos/ out/
        srkit upscale-dataset 'shards/*.tar' out/ --address auto
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise InputError("upscale-dataset needs Ray: pip install 'srkit[ray]'")
    from srkit_ray.run import run

    totals = run(
        source,
        out,
        to=to.value if to else None,
        shard_size=shard_size,
        column=column,
        workers=workers,
        address=address,
        options={
            "model": model,
            "scale": scale,
            "faces": faces,
            "suffix": suffix,
            "device": device,
            "precision": precision,
            "engine": engine,
        },
    )
    before = f" ({totals['before']} done before)" if totals["before"] else ""
    done = totals["shards"] - totals["lost"]
    lost = f", {totals['lost']} shards failed" if totals["lost"] else ""
    failed = f"{totals['failed']} failed" + ", named in the manifests" * bool(totals["failed"])
    print(f"{done} shards{before}{lost}; {totals['images']} images, {failed}")  # noqa: T201
    if totals["failed"] or totals["lost"]:
        raise typer.Exit(1)
