"""LPIPS and DISTS by torchmetrics: distances between a pretrained network's features.

srkit's tests verify how pictures get into these and out of them, on random weights, but not their
values: the pretrained backbones were not to be had where srkit was written.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
import torchmetrics.functional.image.dists as dists_module
import torchmetrics.functional.image.lpips as lpips_module
from torch import Tensor, nn
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import AlexNet_Weights, VGG16_Weights, alexnet, vgg16

from srkit_perceptual import backbones

ALEXNET: str = AlexNet_Weights.DEFAULT.url
VGG16: str = VGG16_Weights.DEFAULT.url
# So many pixels of each of the two go through the network at a time; the rest waits.
AT_A_TIME = 1 << 18


class PerceptualMetric(nn.Module):
    """A distance between features of sr and hr: 0 for equal pictures, lower is better.

    Attributes:
        name: Network and weights, for tables.
        sha256: Of the backbone's weights.
        least: Smallest side in pixels that the network takes.
    """

    unit, higher_is_better, title = "", False, ""
    name: str
    sha256: str
    least = 1

    def train(self, mode: bool = True) -> PerceptualMetric:
        """Stay in evaluation mode: dropout has no place in a referee."""
        super().train(False)
        return self

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a distance a picture, ``B`` or shaped so that it can be flattened to it."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score a picture, shape ``B``, for ``B3HW`` in [0, 1]; both rounded to 8 bits.

        The network goes to where the pictures are.

        Raises:
            ValueError: Shapes differ, or pictures are too small for the network.
        """
        if sr.shape != hr.shape:
            raise ValueError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)} differ in shape")
        height, width = sr.shape[-2:]
        if min(height, width) < self.least:
            raise ValueError(f"pictures must have sides of {self.least} or more pixels")
        self.to(sr.device)
        a, b = (pictures.float().clamp(0, 1).mul(255).round().div(255) for pictures in (sr, hr))
        count = max(1, AT_A_TIME // (height * width))
        parts = zip(a.split(count), b.split(count), strict=True)
        return torch.cat([self.distance(one, other).reshape(-1) for one, other in parts])


class Lpips(PerceptualMetric):
    """LPIPS (Zhang et al., 2018), version 0.1 on AlexNet, by torchmetrics; lower is better.

    The backbone's weights are torchvision's ``alexnet-owt-7be5be79.pth`` (ImageNet), looked for in
    torch.hub's folder and never downloaded; the linear layers come with torchmetrics. Pictures go
    in at their own size. That the values agree with other implementations is not verified by
    srkit's tests, which have no pretrained weights.

    Args:
        weights: A file of the backbone's weights in place of that one.

    Raises:
        InputError: The weights aren't there, or don't fit.
    """

    title = "LPIPS"
    least = 31  # what two of AlexNet's poolings leave something of

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        found = backbones.find("lpips", ALEXNET, weights)
        backbone = backbones.features("lpips", alexnet, found)

        # torchmetrics knows no other way to get a backbone than to have torchvision download it.
        def ours(net: str, pretrained: bool = False) -> nn.Module:
            return backbone

        with patch.object(lpips_module, "_get_tv_model_features", ours):
            self.network: Any = LearnedPerceptualImagePatchSimilarity(net_type="alex").net
        self.name, self.sha256 = f"LPIPS 0.1 (AlexNet, {found.file.stem})", found.sha256
        self.eval().requires_grad_(False)

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `PerceptualMetric`."""
        scores: Tensor = self.network(sr, hr, normalize=True)
        return scores


class Dists(PerceptualMetric):
    """DISTS (Ding et al., 2020) on VGG-16, by torchmetrics; lower is better.

    The backbone's weights are torchvision's ``vgg16-397923af.pth`` (ImageNet), looked for in
    torch.hub's folder and never downloaded; the weights of features come with torchmetrics.
    Pictures go in at their own size; the authors' own program makes those larger than 256 pixels
    smaller first, which this one doesn't. That the values agree with other implementations is not
    verified by srkit's tests, which have no pretrained weights.

    Args:
        weights: A file of the backbone's weights in place of that one.

    Raises:
        InputError: The weights aren't there, or don't fit.
    """

    title = "DISTS"

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        found = backbones.find("dists", VGG16, weights)

        class Ours:
            features = backbones.features("dists", vgg16, found)

        # See `Lpips`.
        with patch.object(dists_module, "vgg16", lambda weights: Ours):
            self.network = dists_module.DISTSNetwork()
        self.name, self.sha256 = f"DISTS (VGG-16, {found.file.stem})", found.sha256
        self.eval().requires_grad_(False)

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `PerceptualMetric`."""
        scores: Tensor = self.network(sr, hr)
        return scores
