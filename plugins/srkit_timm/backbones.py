"""timm backbones as discriminators and perceptual features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from srkit import DiscriminatorOutput, InputError
from srkit.errors import one_line


def _backbone(name: str, weights: str, levels: int) -> Any:
    """Build a timm backbone that gives its first feature maps.

    Raises:
        ValueError: timm knows no such model, or it gives no feature maps.
        InputError: The weights can't be read.
    """
    if levels < 1:
        raise ValueError(f"levels is 1 or more, not {levels}")
    if not timm.is_model(name):
        raise ValueError(f"timm has no model '{name}'; see timm.list_models()")
    try:
        backbone = timm.create_model(name, features_only=True, out_indices=tuple(range(levels)))
    except (RuntimeError, AttributeError, AssertionError, IndexError) as error:
        raise ValueError(f"timm's '{name}' gives no {levels} feature maps: {error}") from error
    if weights:
        if not Path(weights).is_file():
            raise InputError(f"backbone weights {weights}: no such file")
        try:
            missing = backbone.load_state_dict(load_file(weights), strict=False).missing_keys
        except (OSError, RuntimeError, SafetensorError) as error:
            why = f"{one_line(error):.200}"
            raise InputError(f"backbone weights {weights} can't be used: {why}") from error
        if missing:
            raise InputError(f"backbone weights {weights} lack {missing[0]}")
    return backbone


class TimmDiscriminator(nn.Module):
    """A timm backbone whose last feature map is judged place by place (a PatchGAN's output).

    Args:
        backbone: A timm model that can give feature maps.
        levels: How many of its feature maps are used.
        weights: A safetensors file in timm's names; random initial weights if empty. Nothing is
            downloaded.

    Raises:
        ValueError: timm knows no such model.
    """

    def __init__(self, *, backbone: str = "resnet18", levels: int = 3, weights: str = "") -> None:
        super().__init__()
        self.backbone = _backbone(backbone, weights, levels)
        self.head = nn.Conv2d(self.backbone.feature_info.channels()[-1], 1, 1)

    def forward(self, image: Tensor) -> DiscriminatorOutput:
        """Map images (B3HW in [0, 1]) to logits (B1hw) and the feature maps."""
        features = tuple(self.backbone(image * 2 - 1))
        return DiscriminatorOutput(self.head(features[-1]), features)


class PerceptualLoss(nn.Module):
    """Mean absolute distance between a frozen backbone's feature maps of sr and hr.

    After Johnson et al. (2016).

    Args:
        weights: Trained weights, a safetensors file in timm's names. Nothing is downloaded.
        backbone: A timm model that can give feature maps.
        levels: How many of its feature maps count, each for the same.

    Raises:
        ValueError: timm knows no such model.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, *, weights: str, backbone: str = "resnet18", levels: int = 3) -> None:
        super().__init__()
        if not weights:  # random ones would make a distance, but not one that means anything
            raise ValueError("weights is empty; name a file of trained ones")
        with torch.random.fork_rng(devices=[]):
            self.backbone = _backbone(backbone, weights, levels).eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])

    def train(self, mode: bool = True) -> PerceptualLoss:
        """Stay in evaluation mode: batch statistics would tie images together."""
        super().train(False)
        return self

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        ours, theirs = (self.backbone((x - self.mean) / self.deviation) for x in (sr, hr))
        pairs = zip(ours, theirs, strict=True)
        distances = [(a - b.detach()).abs().mean() for a, b in pairs]
        return torch.stack(distances).mean()
