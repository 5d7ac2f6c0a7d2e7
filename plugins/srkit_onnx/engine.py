"""ONNX Runtime as an engine: any model that has an ONNX graph, or of which one can be made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srkit import Model
from srkit_onnx import graph
from srkit_onnx.graph import Graph

if TYPE_CHECKING:
    from srkit_onnx.export import Exported
    from srkit_onnx.session import Session

Run = Callable[[np.ndarray, str], np.ndarray]


class OnnxRuntime:
    """ONNX Runtime on the CPU, in float32."""

    devices: tuple[str, ...] = ("cpu",)
    takes_onnx = True

    def __call__(self, model: Model, device: str) -> Run:
        """Return the network.

        Raises:
            InputError: ONNX Runtime can't open it.
        """
        from srkit_onnx.session import Session  # ONNX Runtime, which no GPU needs

        if model.graph is None:  # an ONNX file
            generator: Any = model.generator
            session: Session = generator.session
        else:
            session = Session(model.onnx(), model.name)
        return lambda lr, precision: session.run(lr)

    def graph(self, model: Model) -> Graph:
        """Return a model's graph, for this and other engines: converted once, then cached.

        Raises:
            InputError: The network can't be converted.
        """
        from srkit_onnx.conversion import graph_of

        return graph_of(model)

    def read_graph(self, file: Path, model: Model) -> Graph | None:
        """Return the graph in a file, or None where it is broken, or another network's."""
        shapes = {name: values.shape for name, values in model.weights().items()}
        return graph.read(file, graph.network_of(model), shapes)

    def export(self, model: Model, file: Path, *, force: bool) -> Exported:
        """Write a model as an ONNX file; see `srkit.export`."""
        from srkit_onnx.export import export

        return export(model, file, force=force)
