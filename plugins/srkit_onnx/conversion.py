"""A network of torch -> ONNX, checked against torch; and the cache of graphs without weights."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import srkit
from srkit import InputError, Model, registry
from srkit.errors import one_line
from srkit.files import cache_folder
from srkit.lines import show_error
from srkit_onnx import graph
from srkit_onnx.graph import Graph, Traits
from srkit_onnx.session import Session

if TYPE_CHECKING:
    from torch import nn

# Largest difference from torch in units of [0, 1]; half of an 8-bit step is 0.00196.
TOLERANCE = 1e-4
# Batch, height and width of the images compared: odd sides, neither way's multiples.
SIZES = ((1, 17, 23), (2, 31, 8), (3, 9, 40), (1, 61, 33))
EXAMPLE = (2, 3, 19, 26)  # what the graph is recorded with; none of the sizes above
SHOWN = 150  # characters of a message


def graph_of(model: Model) -> Graph:
    """Return a model's graph: from the cache, or made and put there.

    Raises:
        InputError: The network can't be converted.
    """
    network = graph.network_of(model)
    file = cache_folder("graphs") / f"{_key(model, network)}.json" if network else None
    shapes = {name: values.shape for name, values in model.weights().items()}
    if file and (known := graph.read(file, network, shapes)):
        return known
    show_error(f"converting '{model.name}' to ONNX, once")
    result = without_weights(model)
    if file:
        result.write(file)
    return result


def _key(model: Model, network: str) -> str:
    """Return a hash of all that decides a graph: the network, its plugin's code, and versions."""
    name = json.loads(network)[0]
    kind = "readers" if model.metadata.get("reader") else "generators"
    factory = registry.offer(kind, name).factory
    module = factory.partition(":")[0] if isinstance(factory, str) else factory.__module__
    spec = importlib.util.find_spec(module)
    file = Path(spec.origin if spec and spec.origin else "")
    package = "." in module or file.name == "__init__.py"
    versions = srkit.__version__, importlib.metadata.version("torch")
    hashed = hashlib.sha256("\n".join([network, *versions]).encode())
    for each in sorted(file.parent.glob("*.py")) if package else [file]:
        with suppress(OSError):
            hashed.update(each.read_bytes())
    return hashed.hexdigest()[:32]


def without_weights(model: Model) -> Graph:
    """Convert a model's network, and leave its weights out.

    Raises:
        InputError: See `converted`; or the file has weights of other names or shapes.
    """
    proto, _ = converted(model)
    shapes = {name: values.shape for name, values in model.weights().items()}
    kept = [each for each in proto.graph.initializer if each.name not in shapes]
    used = {each.name: tuple(each.dims) for each in proto.graph.initializer if each.name in shapes}
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    del proto.graph.value_info[:]
    traits: Traits = {
        "receptive_radius": model.trait("receptive_radius", None),
        "symmetries": tuple(model.trait("symmetries", ("mirror",))),
        "alignment": int(model.trait("alignment", 1)),
    }
    content = proto.SerializeToString(deterministic=True)
    return Graph(graph.network_of(model), traits, used, content)


def converted(model: Model) -> tuple[Any, float]:
    """Return a model's network as ONNX; batch, height and width stay free.

    A graph that the model has is taken; else one is made, in which nothing is folded: weights keep
    the names that they have in torch.

    Returns:
        onnx's ModelProto, and its largest difference from torch on images of `SIZES`.

    Raises:
        InputError: The extra is missing, the network can't be exported for images of all sizes, or
            it doesn't give the same within `TOLERANCE`.
    """
    for name in ("onnx", "onnxscript"):
        try:
            importlib.metadata.version(name)
        except PackageNotFoundError as error:
            raise InputError("ONNX needs srkit[onnx]: pip install 'srkit[onnx]'") from error
    import onnx
    import torch

    generator = copy.deepcopy(model.generator).cpu().float().eval()
    generator.requires_grad_(False).to(memory_format=torch.contiguous_format)
    with _one_line(f"'{model.name}' can't be exported to onnx"):
        proto = onnx.load_from_string(model.onnx()) if model.graph else _exported(generator)
    with _one_line(f"'{model.name}', exported to onnx, doesn't run"):
        difference = _difference(generator, Session(proto.SerializeToString(), model.name))
    if not difference <= TOLERANCE:
        raise InputError(
            f"'{model.name}', exported to onnx, differs from torch by {difference:.3g} "
            f"(at most {TOLERANCE:g} is allowed, in units of [0, 1]); nothing was written"
        )
    return proto, difference


def _difference(generator: nn.Module, session: Session) -> float:
    """Return the largest difference between both on random images of all sizes."""
    import torch

    random = np.random.default_rng(0)
    worst = 0.0
    for batch, height, width in SIZES:
        lr = random.random((batch, 3, height, width), np.float32)
        with torch.inference_mode():
            expected = generator(torch.from_numpy(lr)).numpy()
        sr = session.run(lr)
        if sr.shape != expected.shape:
            raise RuntimeError(f"it makes {sr.shape} of {lr.shape}")
        worst = float(np.maximum(worst, np.abs(expected - sr).max()))  # keeps nan
    return worst


def _exported(generator: nn.Module) -> Any:
    import onnx
    import torch
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
            optimize=False,
            verbose=False,
        )
    for node in program.model.graph:
        node.metadata_props.clear()  # lines of source code, with this machine's paths
    program.model.metadata_props.clear()
    proto = program.model_proto
    sides = proto.graph.input[0].type.tensor_type.shape.dim
    if any(sides[axis].HasField("dim_value") for axis in free):
        raise RuntimeError("what it computes is fixed to one size of image")
    onnx.checker.check_model(proto, full_check=True)
    return proto


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever an exporter or a runtime raises, logs and prints into one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    # They raise nearly any kind of error over what they don't support.
    except Exception as error:
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        why = one_line(inner)
        if len(why) > 2 * SHOWN:  # pages, with what went wrong at either end
            why = f"{why[:SHOWN]} ... {why[-SHOWN:]}"
        raise InputError(f"{what}: {why}") from error
    finally:
        logging.disable(before)
