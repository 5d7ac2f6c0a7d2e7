"""A loss that keeps identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from srkit_facenet.embedder import FaceNet

Distance = Callable[[Tensor], Tensor]


class _HeldGradient(torch.autograd.Function):
    """A loss of sr with a gradient of a given length, whatever the loss's value."""

    @staticmethod
    def forward(ctx: Any, sr: Tensor, distance: Distance, length: float) -> Tensor:
        with torch.enable_grad():
            inner = sr.detach().requires_grad_()
            value = distance(inner)
            (gradient,) = torch.autograd.grad(value, inner)
        norm = gradient.norm().clamp(min=torch.finfo(gradient.dtype).tiny)
        ctx.save_for_backward(gradient * (length / norm))
        return value.detach()

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return factor * gradient, None, None


class IdentityLoss(nn.Module):
    """Squared distance between FaceNet's unit embeddings of sr and hr, averaged; in [0, 4].

    A network trained with it must not be judged by the same weights: checkpoints record them,
    and the bench warns.

    Args:
        weights: See the embedder ``facenet``.
        crop: Side of the centred square that FaceNet sees, as a share of the image's: 0.85 of a
            face framed as CelebA's squares is about what FaceNet was trained on.
        gradient: Length at which its gradient at sr is held, relative to that of the loss ``l1``;
            0: as it is. Faces that are far from theirs would otherwise move the network most.
        precision: Precision in which FaceNet computes, ``fp32`` or ``bf16``.

    Attributes:
        embedder: The loss embedder, which must not judge the network afterwards.
    """

    embedder: FaceNet

    def __init__(
        self,
        *,
        weights: str = "",
        crop: float = 1.0,
        gradient: float = 0.0,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> None:
        super().__init__()
        if not 0 < crop <= 1:
            raise ValueError(f"crop is a share of the side, above 0 and at most 1, not {crop}")
        if gradient < 0:
            raise ValueError(f"gradient is a length, at least 0, not {gradient}")
        self.crop, self.gradient, self.precision = crop, gradient, precision
        self.embedder = FaceNet(weights=weights)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        with torch.no_grad():
            wanted = self._embedded(hr)

        def distance(images: Tensor) -> Tensor:
            return (self._embedded(images) - wanted).square().sum(dim=1).mean()

        if not (self.gradient and sr.requires_grad):
            return distance(sr)
        # L1's gradient is 1 / N at each of N values: its length is the root of 1 / N.
        length = self.gradient / sr.numel() ** 0.5
        held: Tensor = _HeldGradient.apply(sr, distance, length)
        return held

    def _embedded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        kept = [max(1, round(self.crop * side)) for side in (height, width)]
        top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
        images = images[..., top : top + kept[0], left : left + kept[1]]
        with torch.autocast(images.device.type, torch.bfloat16, self.precision == "bf16"):
            embedding: Tensor = self.embedder(images)
        return embedding.float()
