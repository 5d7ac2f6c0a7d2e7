"""LPIPS and DISTS by torchmetrics: distances between a pretrained network's features.

srkit's tests verify how images get into these and out of them, on random weights, but not their
values: the pretrained backbones were not to be had where srkit was written.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torchmetrics.functional.image.dists as dists_module
import torchmetrics.functional.image.lpips as lpips_module
from torch import Tensor, nn
from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from torchvision.models import AlexNet_Weights, VGG16_Weights, alexnet, vgg16

from srkit_perceptual.weights import Weights, features, find

ALEXNET: str = AlexNet_Weights.DEFAULT.url
VGG16: str = VGG16_Weights.DEFAULT.url
# Pixels of each of the two that go through the network at a time; the rest waits.
AT_A_TIME = 1 << 18


class PerceptualMetric(nn.Module):
    """A distance between features of sr and hr: 0 for equal images, lower is better."""

    unit, higher_is_better, title = "", False, ""
    least = 1  # smallest side in pixels that the network takes

    def __init__(self, name: str, network: Any, weights: Weights) -> None:
        super().__init__()
        self.network = network
        self.name, self.sha256 = f"{name}, {weights.file.stem})", weights.sha256
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualMetric:
        """Stay in evaluation mode: dropout has no place in a metric."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a score an image, shape ``B``, for ``B3HW`` in [0, 1]; both rounded to 8 bits.

        The network goes to where the images are.
        """
        if sr.shape != hr.shape:
            raise ValueError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)} differ in shape")
        height, width = sr.shape[-2:]
        if min(height, width) < self.least:
            raise ValueError(f"images must have sides of {self.least} or more pixels")
        self.to(sr.device)
        a, b = (images.float().clamp(0, 1).mul(255).round().div(255) for images in (sr, hr))
        count = max(1, AT_A_TIME // (height * width))
        parts = zip(a.split(count), b.split(count), strict=True)
        return torch.cat(
            [self.distance(some_sr, some_hr).reshape(-1) for some_sr, some_hr in parts]
        )

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return a distance an image, ``B`` or shaped so that it can be flattened to it."""
        distances: Tensor = self.network(sr, hr)
        return distances


class Lpips(PerceptualMetric):
    """LPIPS (Zhang et al., 2018), version 0.1 on AlexNet, by torchmetrics; lower is better.

    The backbone's weights are torchvision's ``alexnet-owt-7be5be79.pth`` (ImageNet), looked for in
    torch.hub's folder and never downloaded; the linear layers come with torchmetrics. Images go
    in at their own size.

    Args:
        weights: A file of the backbone's weights in place of that one.
    """

    title = "LPIPS"
    least = 31  # what two of AlexNet's poolings leave something of

    def __init__(self, *, weights: str = "") -> None:
        pretrained = find("lpips", ALEXNET, weights)
        backbone = features(alexnet, pretrained)
        # torchmetrics knows no other way to get a backbone than to have torchvision download it.
        with patch.object(lpips_module, "_get_tv_model_features", lambda *_, **__: backbone):
            metric = LearnedPerceptualImagePatchSimilarity(net_type="alex")
        super().__init__("LPIPS 0.1 (AlexNet", metric.net, pretrained)

    def distance(self, sr: Tensor, hr: Tensor) -> Tensor:
        """See `PerceptualMetric`."""
        distances: Tensor = self.network(sr, hr, normalize=True)
        return distances


class Dists(PerceptualMetric):
    """DISTS (Ding et al., 2020) on VGG-16, by torchmetrics; lower is better.

    The backbone's weights are torchvision's ``vgg16-397923af.pth`` (ImageNet), found as those of
    `Lpips`; the weights of features come with torchmetrics. Images go in at their own size; the
    authors' own program makes those larger than 256 pixels smaller first, which this one doesn't.

    Args:
        weights: A file of the backbone's weights in place of that one.
    """

    title = "DISTS"

    def __init__(self, *, weights: str = "") -> None:
        pretrained = find("dists", VGG16, weights)
        backbone = SimpleNamespace(features=features(vgg16, pretrained))
        with patch.object(dists_module, "vgg16", lambda weights: backbone):  # see `Lpips`
            network = dists_module.DISTSNetwork()
        super().__init__("DISTS (VGG-16", network, pretrained)
