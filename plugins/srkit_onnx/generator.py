"""ONNX Runtime behind the generators' contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from srkit import InputError

NOTHING = 4  # ONNX Runtime's log level: what goes wrong is raised anyway


def opened(file: Path, threads: int) -> Any:
    """Open a file as a session of ONNX Runtime.

    Raises:
        InputError: Damaged, or of operators that this ONNX Runtime doesn't know.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = NOTHING
    options.enable_mem_pattern = False  # plans for one size, and tiles come in several
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    # Its errors have no base of their own.
    except Exception as error:
        raise InputError(f"{file}: not a readable ONNX file ({_first_line(error)})") from error


class OnnxGenerator(nn.Module):
    """A network in an ONNX file, run on the CPU: lr (B3hw) to sr (B3HW).

    It has no parameters for torch to move, train or count. The number of threads follows
    ``torch.get_num_threads()``.

    Args:
        file: Read again by copies of this module, and for another number of threads.

    Attributes:
        scale: Scale; 0 where it isn't known yet, and sr may have any size.
        receptive_radius: In LR pixels; None where tiles only approximate.
        licence: Licence of the weights.
        recipe: What it was trained by, as TOML; empty if that isn't known.
        metadata: What else the file says.

    Raises:
        InputError: See `opened`.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.scale = 0
        self.receptive_radius: int | None = None
        self.licence = "unknown"
        self.recipe = ""
        self.metadata: dict[str, Any] = {}
        self._sessions: dict[int, Any] = {}
        _ = self.session  # what can't be read should fail here

    @property
    def session(self) -> Any:
        """ONNX Runtime's session, in as many threads as torch uses now."""
        threads = torch.get_num_threads()
        if threads not in self._sessions:
            self._sessions[threads] = opened(self.file, threads)
        return self._sessions[threads]

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW), float32 on lr's device.

        Raises:
            InputError: The network can't take images of this size.
            MemoryError: There isn't enough memory for it.
        """
        session = self.session
        entry = session.get_inputs()[0]
        kind = np.float16 if entry.type == "tensor(float16)" else np.float32
        values = lr.detach().float().cpu().contiguous().numpy().astype(kind, copy=False)
        # A network made for one image at a time takes a batch one by one.
        parts = np.split(values, len(values)) if entry.shape[0] == 1 else [values]
        try:
            results = [session.run(None, {entry.name: part})[0] for part in parts]
        except Exception as error:
            if "allocate memory" in str(error) or "bad_alloc" in str(error):
                raise MemoryError(_first_line(error)) from error
            raise InputError(
                f"{self.file}: ONNX Runtime can't run it on {_sides(lr.shape)} pixels "
                f"({_first_line(error)})"
            ) from error
        sr = torch.from_numpy(np.concatenate(results).astype(np.float32, copy=False))
        wanted = (*lr.shape[:2], lr.shape[-2] * self.scale, lr.shape[-1] * self.scale)
        if self.scale and sr.shape != wanted:
            raise InputError(
                f"{self.file}: makes {_sides(sr.shape)} pixels of {_sides(lr.shape)} where "
                f"{_sides(wanted)} were due; it can't take images of any size"
            )
        return sr.to(lr.device)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sessions": {}}  # a session can't be copied


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[0]:.200}"
