"""Perceptual metrics by torchmetrics and torch-fidelity (extra `perceptual`).

srkit's own tests run LPIPS, DISTS, FID and KID end to end on random weights: they verify the
plumbing (ranges, order, batches, missing files), not the values, for which the pretrained weights
are needed. The values of VIF and ST-LPIPS are verified.
"""

import srkit


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """Visual information, and distances between features of single images."""
    return {
        "lpips": "srkit_perceptual.images:Lpips",
        "dists": "srkit_perceptual.images:Dists",
        "st-lpips": "srkit_perceptual.shift_tolerant:StLpips",
        "vif": "srkit_perceptual.vif:Vif",
    }


@srkit.hookimpl
def srkit_set_metrics() -> dict[str, str]:
    """Distances between the features of two sets of images."""
    return {
        "fid": "srkit_perceptual.sets:Fid",
        "kid": "srkit_perceptual.sets:Kid",
    }
