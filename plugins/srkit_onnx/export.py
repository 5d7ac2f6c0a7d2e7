"""`srkit.export`: a model as an ONNX file that other software runs, checked against torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import srkit
from srkit import InputError, Model
from srkit.errors import option, refused
from srkit.files import atomic, require_place
from srkit_onnx.conversion import SIZES, TOLERANCE, converted

__all__ = ["TOLERANCE", "Exported", "described", "export", "require_free"]


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared with torch.

    Attributes:
        file: Where it is.
        difference: Largest found, in units of [0, 1].
        sizes: Batch, height and width of the images compared.
    """

    file: Path
    difference: float
    sizes: tuple[tuple[int, int, int], ...]


def export(model: Model, file: Path, *, force: bool = False) -> Exported:
    """Write a model as ONNX; see `srkit.export`."""
    if model.metadata.get("reader") == "onnx":
        raise InputError(f"'{model.name}' is an ONNX file already; export the original model")
    require_free(file, force=force)
    proto, difference = converted(model)
    for key, value in described(model).items():
        text = value.encode("utf-8", "backslashreplace").decode()  # a file's name may be no text
        proto.metadata_props.add(key=f"srkit.{key}", value=text)
    require_free(file, force=force)  # another may have written it meanwhile
    with refused(f"can't write {file}"), atomic(file) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
    return Exported(file, difference, SIZES)


def require_free(file: Path, *, force: bool) -> None:
    """Raise InputError where a file may not be written."""
    if file.is_dir():
        raise InputError(f"{file} is a folder; give a file's name")
    require_place(file)
    if file.exists() and not force:
        raise InputError(f"{file} is there already; {option('force', True)} writes over it")


def described(model: Model) -> dict[str, str]:
    """Return the metadata of an exported file; unknown values are ``""``."""
    radius = model.trait("receptive_radius", None)
    return {
        "version": srkit.__version__,
        "name": model.name,
        "scale": str(model.scale),
        "licence": model.licence,
        "sha256": model.sha256 or "",
        "receptive_radius": "" if radius is None else str(radius),
        "source": str(model.metadata.get("source", "")),
        "recipe": model.recipe.to_toml() if model.recipe else "",
    }
