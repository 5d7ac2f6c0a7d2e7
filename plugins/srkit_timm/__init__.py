"""Any timm backbone as a discriminator, or as the features of a perceptual loss."""

import srkit


@srkit.hookimpl
def srkit_discriminators() -> dict[str, str]:
    """Backbones that judge."""
    return {"timm": "srkit_timm.backbones:TimmDiscriminator"}


@srkit.hookimpl
def srkit_losses() -> dict[str, str]:
    """Distances in a backbone's features."""
    return {"perceptual": "srkit_timm.backbones:PerceptualLoss"}
