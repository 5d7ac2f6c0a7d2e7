"""``srkit export``: a model as an ONNX file that other software runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srkit.errors import InputError
from srkit.lines import show, show_error


def export(
    model: Annotated[
        str, typer.Argument(help="A model's name, a checkpoint file, a run, or hf://OWNER/NAME.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write.", show_default="NAME.onnx"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a model as ONNX, for images of any size.

    The file is checked against torch.

    Examples:
        srkit export faces
        srkit export runs/mine --out mine.onnx
    """
    from srkit.models.load import find, weights_files
    from srkit_onnx import export as exporting

    file = out or Path(f"{_stem(model)}.onnx")
    if file.exists() and any(file.samefile(f) for f in weights_files(model) if f.is_file()):
        raise InputError(f"{file} is the model itself; choose another place with --out")
    exporting.require_free(file, force=force)
    result = exporting.export(find(model), file, force=force)
    show(file)
    show_error(
        f"differs from torch by at most {result.difference:.2g} on images of "
        f"{len(result.sizes)} sizes ({exporting.TOLERANCE:g} is allowed, in units of [0, 1])"
    )


def _stem(model: str) -> str:
    """Return the last part of a model's name without its suffix and revision."""
    name = Path(model.partition("@")[0])
    known = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")
    return (name.stem if name.suffix in known else name.name) or "model"
