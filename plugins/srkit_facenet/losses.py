"""A loss that keeps identity."""

from __future__ import annotations

from torch import Tensor, nn

from srkit_facenet.embedder import FaceNet


class IdentityLoss(nn.Module):
    """Squared distance between FaceNet's unit embeddings of sr and hr, averaged; in [0, 4].

    A network trained with it must not be judged by the same weights: checkpoints record them,
    and the bench warns.

    Args:
        weights: See the embedder ``facenet``.

    Attributes:
        embedder: The loss embedder, which must not judge the network afterwards.
    """

    embedder: FaceNet

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        self.embedder = FaceNet(weights=weights)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the loss of ``sr`` against ``hr``, both ``B3HW`` in [0, 1]."""
        difference: Tensor = self.embedder(sr) - self.embedder(hr).detach()
        return difference.square().sum(dim=1).mean()
