"""ONNX Runtime behind the generators' contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit import InputError
from srkit_onnx.session import Session


class OnnxGenerator(nn.Module):
    """A network in an ONNX file, run on the CPU: lr (B3hw) to sr (B3HW).

    It has no parameters for torch to move, train or count.

    Args:
        file: Read again by copies of this module, and for another number of threads.

    Attributes:
        session: The network.
        scale: Scale; 0 where it isn't known yet, and sr may have any size.
        receptive_radius: In LR pixels; None where tiles only approximate.
        licence: Licence of the weights.
        recipe: What it was trained by, as TOML; empty if that isn't known.
        metadata: What else the file says.

    Raises:
        InputError: See `Session`.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.scale = 0
        self.receptive_radius: int | None = None
        self.licence = "unknown"
        self.recipe = ""
        self.metadata: dict[str, Any] = {}
        self.session = Session(file, str(file))

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW), float32 on lr's device.

        Raises:
            InputError, MemoryError: See `Session.run`.
        """
        values = lr.detach().float().cpu().contiguous().numpy()
        sr = torch.from_numpy(self.session.run(values))
        wanted = (*lr.shape[:2], lr.shape[-2] * self.scale, lr.shape[-1] * self.scale)
        if self.scale and sr.shape != wanted:
            raise InputError(
                f"{self.file}: makes {_sides(sr.shape)} pixels of {_sides(lr.shape)} where "
                f"{_sides(wanted)} were due; it can't take images of any size"
            )
        return sr.to(lr.device)


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]}"
