"""What tests of several plugins need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from srkit import InputError
from srkit.faces.align import crop, detector
from srkit.imaging import codec


def require_closer(embedding: Tensor) -> float:
    """See that photos of one person are nearer than any others; return their largest distance."""
    distances = torch.cdist(embedding, embedding)
    people = torch.tensor([0, 0, 1, 1, 2, 2])
    same = (people[:, None] == people[None]) & ~torch.eye(6, dtype=torch.bool)
    assert distances[same].max() < distances[people[:, None] != people[None]].min()
    return float(distances[same].max())


def refusal(make: Callable[..., object], weights: str) -> str:
    """Return the one line that an embedder says of weights that are none."""
    with pytest.raises(InputError) as raised:
        make(weights=weights)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.fixture(scope="session")
def astronaut() -> Tensor:
    """A face, 96x96, framed as the bench frames it."""
    photo = Image.fromarray(skimage.data.astronaut())
    return codec.to_tensor(crop(photo, detector().faces(photo)[0], 96))


@pytest.fixture(scope="session")
def faces(data_root: Path) -> Tensor:
    """Two photos of each of three people, cropped, 96x96."""
    finder = detector()
    cropped = []
    for name in ("01_01", "01_02", "02_01", "02_02", "05_01", "05_02"):
        photo = codec.read(data_root / "imm-frontal" / f"{name}.jpg").rgb
        cropped.append(codec.to_tensor(crop(photo, finder.faces(photo)[0], 96)))
    return torch.cat(cropped)
