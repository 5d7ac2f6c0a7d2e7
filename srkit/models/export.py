"""A model -> an ONNX file that other software runs, checked against torch."""

from __future__ import annotations

import copy
import importlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import srkit
from srkit import defaults, registry
from srkit.errors import InputError
from srkit.files import atomic
from srkit.inference.model import Model

# Largest difference from torch in units of [0, 1]; half of an 8-bit step is 0.00196.
TOLERANCE = 1e-4
# Batch, height and width of the images compared: odd sides, neither way's multiples.
SIZES = ((1, 17, 23), (2, 31, 8), (3, 9, 40), (1, 61, 33))
EXAMPLE = (2, 3, 19, 26)  # what the graph is recorded with; none of the sizes above
READER = defaults.READER_OF_ONNX  # which reads ONNX files, if its extra is installed
SHOWN = 150  # characters of a message


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
    sizes: tuple[tuple[int, int, int], ...] = SIZES


def export(model: Model, file: Path, *, force: bool = False) -> Exported:
    """Write a model as ONNX; batch, height and width stay free.

    The written file is run on images of `SIZES`, and appears under its name only if it agrees
    with torch within `TOLERANCE`. Input ``lr`` and output ``sr`` are float32 RGB in [0, 1],
    ``B3hw`` and ``B3HW``; as within srkit, sr may leave [0, 1]. The file's metadata say, under
    ``srkit.*``, scale, name, licence, receptive radius, recipe, the sha256 of the weights and
    srkit's version.

    Args:
        model: From `srkit.load`.
        file: To write.
        force: Write over a file of that name.

    Raises:
        InputError: The file exists, the extra is missing, the model is an ONNX file, its network
            can't be exported for images of all sizes, or the result isn't the same.
    """
    if model.metadata.get("reader") == READER:
        raise InputError(f"'{model.name}' is an ONNX file already; export the original model")
    require_free(file, force=force)
    generator = copy.deepcopy(model.generator).cpu().float().eval()
    generator.requires_grad_(False).to(memory_format=torch.contiguous_format)
    with tempfile.TemporaryDirectory(prefix="srkit-") as folder:
        draft = Path(folder) / "draft.onnx"
        with _one_line(f"'{model.name}' can't be exported to onnx", draft):
            _write(generator, draft, described(model))
        with _one_line(f"'{model.name}', exported to onnx, doesn't run", draft):
            difference = _difference(generator, _read(draft))
        if not difference <= TOLERANCE:
            raise InputError(
                f"'{model.name}', exported to onnx, differs from torch by {difference:.3g} "
                f"(at most {TOLERANCE:g} is allowed, in units of [0, 1]); nothing was written"
            )
        try:
            with atomic(file) as temporary:
                shutil.copyfile(draft, temporary)
        except OSError as error:
            raise InputError(f"can't write {file}: {error}") from error
    return Exported(file, difference)


def require_free(file: Path, *, force: bool) -> None:
    """Check that a file may be written.

    Raises:
        InputError: It exists, and ``force`` is False.
    """
    if file.is_dir():
        raise InputError(f"{file} is a folder; give a file's name")
    if file.exists() and not force:
        raise InputError(f"{file} is there already; --force writes over it")


def described(model: Model) -> dict[str, str]:
    """Return the metadata of an exported file; unknown values are ``""``."""
    radius = getattr(model.generator, "receptive_radius", None)
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


@torch.no_grad()
def _difference(generator: nn.Module, other: Callable[[Tensor], Tensor]) -> float:
    """Return the largest difference between two generators on random images of all sizes."""
    random = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch, height, width in SIZES:
        lr = torch.rand(batch, 3, height, width, generator=random)
        ours, theirs = generator(lr.clone()), other(lr.clone())
        if ours.shape != theirs.shape:
            raise RuntimeError(f"it makes {tuple(theirs.shape)} of {tuple(lr.shape)}")
        difference = float((ours - theirs).abs().max())
        worst = max(worst, difference) if difference == difference else float("nan")
    return worst


def _write(generator: nn.Module, file: Path, metadata: dict[str, str]) -> None:
    if READER not in registry.offers("readers"):
        raise InputError("ONNX needs srkit[onnx]: pip install 'srkit[onnx]'")
    from torch.export import Dim

    free = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own; the result is compared
        program: Any = torch.onnx.export(
            generator,
            (torch.rand(EXAMPLE),),
            input_names=["lr"],
            output_names=["sr"],
            dynamic_shapes=(free,),
            dynamo=True,
            verbose=False,
        )
    for node in program.model.graph:
        node.metadata_props.clear()  # lines of source code, with this machine's paths
    program.model.metadata_props.clear()
    program.model.metadata_props.update({f"srkit.{key}": value for key, value in metadata.items()})
    proto = program.model_proto
    sides = proto.graph.input[0].type.tensor_type.shape.dim
    if any(sides[axis].HasField("dim_value") for axis in free):
        raise RuntimeError("what it computes is fixed to one size of image")
    importlib.import_module("onnx").checker.check_model(proto, full_check=True)
    file.write_bytes(proto.SerializeToString(deterministic=True))


def _read(file: Path) -> Callable[[Tensor], Tensor]:
    read: Callable[[Path], Callable[[Tensor], Tensor]] = registry.find("readers", READER)
    return read(file)


@contextmanager
def _one_line(what: str, draft: Path) -> Iterator[None]:
    """Turn whatever an exporter or a runtime raises, logs and prints into one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    except InputError as error:
        raise InputError(f"{what}: {str(error).removeprefix(f'{draft}: ')}") from error
    # They raise nearly any kind of error over what they don't support.
    except Exception as error:
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        why = " ".join(str(inner).split()) or type(inner).__name__
        if len(why) > 2 * SHOWN:  # pages, with what went wrong at either end
            why = f"{why[:SHOWN]} ... {why[-SHOWN:]}"
        raise InputError(f"{what}: {why}") from error
    finally:
        logging.disable(before)
