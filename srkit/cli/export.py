"""``srkit export``: a model as a file that other software runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srkit.errors import InputError


def export(
    model: Annotated[
        str, typer.Argument(help="A model's name, a checkpoint file, a run, or hf://OWNER/NAME.")
    ],
    to: Annotated[str, typer.Option("--to", help="onnx or torchscript.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write.", show_default="NAME.onnx, NAME.pt"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file.")] = False,
) -> None:
    """Write a model as ONNX or TorchScript, for pictures of any size, checked against torch."""
    from srkit.models import export as exporting
    from srkit.models.load import find

    if to not in exporting.SUFFIXES:
        formats = " or ".join(exporting.SUFFIXES)
        raise InputError(f"can't export to '{to}', only to {formats}")
    file = out or Path(f"{_stem(model)}{exporting.SUFFIXES[to]}")
    if Path(model).is_file() and file.exists() and file.samefile(model):
        raise InputError(f"{file} is the model itself; choose another place with --out")
    exporting.require_free(file, force=force)
    done = exporting.export(find(model), file, to, force=force)  # type: ignore[arg-type]
    typer.echo(file)
    typer.echo(
        f"srkit: differs from torch by at most {done.difference:.2g} on pictures of "
        f"{len(done.sizes)} sizes ({exporting.TOLERANCE:g} is allowed, in units of [0, 1])",
        err=True,
    )


def _stem(model: str) -> str:
    """Return the last part of a model's name without its suffix, revision and sum."""
    name = Path(model.partition("#")[0].partition("@")[0])
    known = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")
    return (name.stem if name.suffix in known else name.name) or "model"
