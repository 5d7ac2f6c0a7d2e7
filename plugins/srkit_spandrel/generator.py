"""A network that spandrel built, behind the generators' contract."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# Convolutions throughout: they take any batch, and are faster in channels_last. Of the others
# many cut images into windows by ``view``; they run as spandrel tests them, contiguous and
# image by image.
CONVOLUTIONAL = frozenset({"Compact", "ESRGAN", "MoSR", "PLKSR", "RCAN", "SPAN", "SwiftSRGAN"})
DRAWING = frozenset({"AuraSR"})  # they draw a part of their input at random
_drawing = threading.Lock()  # the state of torch's generator is everybody's


class Community(nn.Module):
    """A network that spandrel built: lr (B3hw) to sr (B3HW), both in [0, 1].

    Images that are too small or of sizes the network can't take are padded at the right and at
    the bottom, by reflection and, where that isn't enough, by their last pixels, and sr is cut
    accordingly. A network of one channel is run for red, green and blue; one of four is given
    opaque alpha, and its own alpha is dropped. A network that draws at random draws the same
    for every image.

    Attributes:
        scale: Scale.
        receptive_radius: Known of ``Compact`` alone: its 3x3 convolutions. The others reach
            further than a tile, or look at whole windows.
        licence: As its file states it.
        metadata: Architecture, tags, and what else its file says.
    """

    def __init__(self, known: Any, *, licence: str, metadata: Mapping[str, Any]) -> None:
        super().__init__()
        self.network: nn.Module = known.model.eval()
        self.scale = int(known.scale)
        self.licence = licence
        self.metadata = dict(metadata)
        self.channels: int = known.input_channels
        self.needs = known.size_requirements
        architecture: str = known.architecture.id
        self.draws = architecture in DRAWING
        self.convolutional = architecture in CONVOLUTIONAL
        if self.convolutional:
            self.network.to(memory_format=torch.channels_last)
        self.receptive_radius = _radius(architecture, self.network)
        # spandrel's own call runs in inference mode, which no exporter can look into.
        self._call = known._call_fn

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move it as any module, but leave networks that want contiguous tensors contiguous."""
        if not self.convolutional:
            kwargs.pop("memory_format", None)
        return super().to(*args, **kwargs) if args or kwargs else self

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW), H = scale * h; may leave [0, 1]."""
        batch, _, height, width = lr.shape
        x = self._padded(lr)
        if self.channels == 1:
            x = x.reshape(-1, 1, *x.shape[-2:])
        elif self.channels == 4:
            x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        sr = self._run(x)[..., : height * self.scale, : width * self.scale]
        if self.channels == 1:
            return sr.reshape(batch, 3, *sr.shape[-2:])
        return sr[:, :3]

    def _padded(self, lr: Tensor) -> Tensor:
        if self.needs.none:
            return lr
        height, width = lr.shape[-2:]
        right, below = self.needs.get_padding(width, height)
        if not right and not below:
            return lr
        # Reflection gives one pixel less than there are.
        mirrored = (min(right, width - 1), min(below, height - 1))
        lr = pad(lr, (0, mirrored[0], 0, mirrored[1]), mode="reflect")
        return pad(lr, (0, right - mirrored[0], 0, below - mirrored[1]), mode="replicate")

    def _run(self, x: Tensor) -> Tensor:
        # A copy, since some networks write into what they are given. An exporter wants one call
        # for a batch of any size, and compares what it made of it.
        if self.convolutional or _exporting():
            return cast(Tensor, self._call(self.network, x.clone()))
        plain = torch.contiguous_format
        return torch.cat([self._alone(image.clone(memory_format=plain)) for image in x.split(1)])

    def _alone(self, x: Tensor) -> Tensor:
        if not self.draws:
            return cast(Tensor, self._call(self.network, x))
        with _drawing, torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(0)
            return cast(Tensor, self._call(self.network, x))


def _exporting() -> bool:
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return tracing or torch.compiler.is_exporting()


def _radius(architecture: str, network: nn.Module) -> int | None:
    """Return how far an input pixel reaches, in LR pixels, where that is known."""
    if architecture != "Compact":
        return None
    return sum(isinstance(layer, nn.Conv2d) for layer in network.modules())
