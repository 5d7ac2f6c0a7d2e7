"""ONNX Runtime: an ONNX file that maps arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Else it reports models and the machine to Microsoft, from 1.29 on; read when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime

from srkit import InputError
from srkit.files import is_utf8
from srkit.inference.device import threads

NOTHING = 4  # ONNX Runtime's log level: what goes wrong is raised anyway


def opened(content: Path | bytes, name: str, count: int) -> Any:
    """Open a file as ONNX Runtime does.

    Args:
        content: The file, or what is in it.
        name: What messages call it.
        count: Number of threads.

    Raises:
        InputError: Damaged, or of operators that this ONNX Runtime doesn't know.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    options.log_severity_level = NOTHING
    options.enable_mem_pattern = False  # plans for one size, and tiles come in several
    try:
        if isinstance(content, Path) and not is_utf8(content):
            content = content.read_bytes()
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # Its errors have no base of their own.
    except Exception as error:
        raise InputError(f"{name}: not a readable ONNX file ({first_line(error)})") from error


class Session:
    """A network in an ONNX file, run on the CPU, in as many threads as torch uses.

    Args:
        content: The file, read again for another number of threads; or what is in it.
        name: What messages call it.

    Raises:
        InputError: See `opened`.
    """

    def __init__(self, content: Path | bytes, name: str) -> None:
        self.content, self.name = content, name
        self.opened: dict[int, Any] = {}
        for entry in self.now.get_inputs():  # one; what can't be read should fail here
            self.input, self.one_by_one = str(entry.name), entry.shape[:1] == [1]
            self.kind = np.float16 if entry.type == "tensor(float16)" else np.float32

    @property
    def now(self) -> Any:
        """ONNX Runtime's session."""
        count = threads()
        if count not in self.opened:
            self.opened[count] = opened(self.content, self.name, count)
        return self.opened[count]

    def run(self, lr: np.ndarray) -> np.ndarray:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW), float32.

        Raises:
            InputError: The network can't take images of this size.
            MemoryError: There isn't enough memory for it.
        """
        session, values = self.now, lr.astype(self.kind, copy=False)
        # A network made for one image at a time takes a batch one by one.
        parts = np.split(values, len(values)) if self.one_by_one else [values]
        try:
            results = [session.run(None, {self.input: part})[0] for part in parts]
        except Exception as error:
            if "allocate memory" in str(error) or "bad_alloc" in str(error):
                raise MemoryError(first_line(error)) from error
            raise InputError(
                f"{self.name}: ONNX Runtime can't run it on {lr.shape[-1]}x{lr.shape[-2]} pixels "
                f"({first_line(error)})"
            ) from error
        sr = results[0] if len(results) == 1 else np.concatenate(results)
        return sr.astype(np.float32, copy=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "opened": {}}  # ONNX Runtime's can't be copied


def first_line(error: Exception) -> str:
    """Return what an error says, in short."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0]:.200}"
