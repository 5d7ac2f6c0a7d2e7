"""What tests of several plugins need."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from srkit.faces.align import crop, detector
from srkit.imaging import codec


@pytest.fixture(scope="session")
def faces(data_root: Path) -> Tensor:
    """Two photos of each of three people, cropped, 96x96."""
    finder = detector()
    cropped = []
    for name in ("01_01", "01_02", "02_01", "02_02", "05_01", "05_02"):
        photo = codec.read(data_root / "imm-frontal" / f"{name}.jpg").rgb
        cropped.append(codec.to_tensor(crop(photo, finder.faces(photo)[0], 96)))
    return torch.cat(cropped)
