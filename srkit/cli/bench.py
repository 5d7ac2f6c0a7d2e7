"""``srkit bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models' names, checkpoint files, runs.", show_default="faces"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder of photos, or a data set's name, for PSNR and SSIM."),
    ] = None,
    verify: Annotated[
        str | None, typer.Option(help="A face set for identity distances: imm, folders.")
    ] = None,
    verify_data: Annotated[
        str | None, typer.Option(help="Its folder.", show_default="its name under SRKIT_DATA")
    ] = None,
    embedder: Annotated[str, typer.Option(help="A registered embedder.")] = "facenet",
    embedder_weights: Annotated[
        Path | None,
        typer.Option(help="Its weights.", show_default="SRKIT_FACENET_WEIGHTS, or vggface2"),
    ] = None,
    framing: Annotated[
        str, typer.Option(help="squash: the whole picture, as the paper; square: its centre.")
    ] = "squash",
    people: Annotated[int, typer.Option(min=0, help="How many are drawn; 0 for all.")] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="First so many pictures.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of noise and draws.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="Write everything measured there.")] = None,
) -> None:
    """Measure models: PSNR and SSIM beside bicubic, and whether faces stay the same person's."""
    from srkit.bench.run import bench as run

    report = run(
        models or (),
        data=data,
        verify=verify,
        verify_data=verify_data,
        embedder=embedder,
        embedder_weights=embedder_weights,
        framing=framing,
        people=people,
        limit=limit,
        seed=seed,
        device=device,
    )
    Console().print(report.tables())
    if json:
        report.write(json)
