"""ESPCN (Shi et al., 2016): three convolutions at the input's size and a pixel shuffle."""

from torch import nn

import srkit


class Espcn(nn.Sequential):
    """ESPCN: 5x5, 3x3 and 3x3 convolutions, then a pixel shuffle."""

    receptive_radius = 4

    def __init__(self, *, scale: int = 4, width: int = 64) -> None:
        super().__init__(
            nn.Conv2d(3, width, 5, padding=2), nn.Tanh(),
            nn.Conv2d(width, width // 2, 3, padding=1), nn.Tanh(),
            nn.Conv2d(width // 2, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale),
        )  # fmt: skip


def recipe() -> srkit.Recipe:
    """ESPCN on small faces, with our own recipe's data and degradation."""
    return srkit.Recipe(
        name="espcn",
        steps=2000,
        generator=srkit.Part.of("espcn"),
        losses={"mse": srkit.Loss(weight=1.0)},
        degradation=srkit.Part.of("faces-x4"),
        optimizer=srkit.Optimizer(learning_rate=1e-3),
    )


@srkit.hookimpl
def srkit_generators() -> dict[str, type]:
    """One generator."""
    return {"espcn": Espcn}


@srkit.hookimpl
def srkit_recipes() -> dict[str, object]:
    """One recipe."""
    return {"espcn": recipe}
