"""ST-LPIPS: a distance of features that a shift by a few pixels hardly moves."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from srkit import InputError
from srkit.files import in_package
from srkit_perceptual.images import PerceptualMetric
from srkit_perceptual.weights import read

# Its weights are the authors' (BSD-2-Clause). Its code, part of which is non-commercial, is neither
# imported nor needed.
PACKAGE, FILE = "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth"
CHANNELS = (64, 192, 384, 256, 256)
MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS's, for [-1, 1]


class Blur(nn.Module):
    """Smooth with (1, 2, 1), of every second place, reflecting two pixels at the border."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.empty(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``BCHW`` of half the size and a little more."""
        padded = functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.get_buffer("filt"), stride=2, groups=x.shape[1])


def _slice(first: int, *layers: nn.Module) -> nn.Sequential:
    """Return layers under the numbers that the file of weights calls them by."""
    return nn.Sequential(OrderedDict((str(first + n), layer) for n, layer in enumerate(layers)))


class Network(nn.Module):
    """AlexNet's convolutions without strides, each followed by a blur where it had one.

    Section 4 of Ghildyal and Liu (2022). Names are those of the file of weights.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d, e = CHANNELS
        self.net = nn.ModuleDict(
            {
                "slice1": _slice(0, nn.Conv2d(3, a, 11, padding=2), Blur(a), nn.ReLU()),
                "slice2": _slice(
                    3, nn.MaxPool2d(3, 1), Blur(a), nn.Conv2d(a, b, 5, padding=2), nn.ReLU()
                ),
                "slice3": _slice(
                    7, nn.MaxPool2d(3, 1), Blur(b), nn.Conv2d(b, c, 3, padding=1), nn.ReLU()
                ),
                "slice4": _slice(11, nn.Conv2d(c, d, 3, padding=1), nn.ReLU()),
                "slice5": _slice(13, nn.Conv2d(d, e, 3, padding=1), nn.ReLU()),
            }
        )
        for n, channels in enumerate(CHANNELS):
            self.add_module(f"lin{n}", nn.ModuleDict({"model": _slice(1, _linear(channels))}))

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a distance an image, shape ``B``, for ``B3HW`` in [0, 1]."""
        mean, deviation = (sr.new_tensor(x).view(1, 3, 1, 1) for x in (MEAN, DEVIATION))
        both = (torch.cat([sr, hr]) * 2 - 1 - mean) / deviation
        distance = sr.new_zeros(len(sr))
        for n, layers in enumerate(self.net.values()):
            both = layers(both)
            # Features of length 1 at each place.
            a, b = functional.normalize(both, eps=1e-10).chunk(2)
            weighted = self.get_submodule(f"lin{n}.model")((a - b).square())
            distance = distance + weighted.mean(dim=(1, 2, 3))
        return distance


def _linear(channels: int) -> nn.Module:
    return nn.Conv2d(channels, 1, 1, bias=False)


class StLpips(PerceptualMetric):
    """ST-LPIPS (Ghildyal and Liu, 2022) on a shift-tolerant AlexNet; lower is better.

    As LPIPS, but images that differ by a shift of a pixel or two are near to it, as they are to
    people. The weights are those of the package stlpips-pytorch
    (`pip install --no-deps stlpips-pytorch`). Images go in at their own size.

    Args:
        weights: A file of weights in place of that one.
    """

    title = "ST-LPIPS"
    least = 16

    def __init__(self, *, weights: str = "") -> None:
        file = in_package(PACKAGE, FILE)
        if weights:
            file = Path(weights).expanduser()
        if file is None:
            raise InputError(
                "st-lpips needs the weights of the package stlpips-pytorch: "
                "pip install --no-deps stlpips-pytorch"
            )
        stored = read("st-lpips", file)
        network = Network()
        state = {k: v for k, v in stored.state.items() if not k.startswith("scaling_layer.")}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise stored.misfit(error) from error
        super().__init__("ST-LPIPS (AlexNet", network, stored)
