"""ONNX Runtime as an engine: any model that has an ONNX graph, or of which one can be made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from srkit import Model
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
        if model.graph is None:  # an ONNX file
            generator: Any = model.generator
            session: Session = generator.session
        else:
            session = Session(model.onnx(), model.name)
        return lambda lr, precision: session.run(lr)
