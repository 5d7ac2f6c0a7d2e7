"""``srkit upscale-dataset``: a data set in, larger images in shards out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from srkit import InputError
from srkit.lines import show

IN = "Folder of images, tar archives or Parquet; or 'in/*.tar'."
MODEL = "A name, a file, a run, or hf://OWNER/NAME. [faces]"
FACES = Option("--faces", help="Find faces and restore only them by a network.")
FORMAT = Option("--format", help="Format of results: png, jpg, webp... [the input's]")
TO = Option(help="Kind of shards: tar or parquet. [the input's, or tar]")
SIZE = Option(min=1, help="Images of a shard, of a folder of images.")
ADDRESS = Option(help="Ray cluster: auto, HOST:PORT. [RAY_ADDRESS, or this machine]")


def upscale_dataset(
    source: Annotated[str, Argument(metavar="IN", help=IN)],
    out: Annotated[Path, Argument(help="Folder for shards and their manifests.")],
    model: Annotated[str | None, Option(help=MODEL)] = None,
    scale: Annotated[float | None, Option(help="Scale of the results. [the model's]")] = None,
    faces: Annotated[bool, FACES] = False,
    suffix: Annotated[str | None, FORMAT] = None,
    to: Annotated[Literal["tar", "parquet"] | None, TO] = None,
    shard_size: Annotated[int, SIZE] = 1000,
    column: Annotated[str | None, Option(help="Parquet column of images. [image]")] = None,
    workers: Annotated[int | None, Option(min=1, help="Processes. [one a GPU, or a CPU]")] = None,
    address: Annotated[str | None, ADDRESS] = None,
    device: Annotated[str, Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, Option(help="auto, fp32, bf16, fp16.")] = "auto",
    engine: Annotated[str, Option(help="auto, onnxruntime, openvino, torch.")] = "auto",
) -> None:
    """Upscale a data set on many machines, by Ray.

    The same command goes on after an interruption.

    Examples:
        srkit upscale-dataset photos/ out/
        srkit upscale-dataset 'shards/*.tar' out/ --address auto
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise InputError("upscale-dataset needs Ray: pip install 'srkit[ray]'")
    from srkit_ray.run import run

    options: dict[str, Any] = {"model": model, "scale": scale, "faces": faces, "suffix": suffix}
    options |= {"device": device, "precision": precision, "engine": engine}
    totals = run(
        source,
        out,
        to=to,
        shard_size=shard_size,
        column=column,
        workers=workers,
        address=address,
        options=options,
    )
    before = f" ({totals['before']} done before)" if totals["before"] else ""
    done = totals["shards"] - totals["lost"]
    lost = f", {totals['lost']} shards failed" if totals["lost"] else ""
    failed = f"{totals['failed']} failed" + ", named in the manifests" * bool(totals["failed"])
    show(f"{done} shards{before}{lost}; {totals['images']} images, {failed}")
    if totals["failed"] or totals["lost"]:
        raise typer.Exit(1)
