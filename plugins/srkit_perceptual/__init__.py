"""Perceptual metrics on pretrained networks: torchmetrics and torch-fidelity (extra `perceptual`).

srkit's own tests run these four end to end on random weights: they verify the plumbing (ranges,
order, batches, missing files), not the values, for which the pretrained weights are needed.
"""

import srkit


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """Distances between features of single images."""
    return {
        "lpips": "srkit_perceptual.images:Lpips",
        "dists": "srkit_perceptual.images:Dists",
    }


@srkit.hookimpl
def srkit_set_metrics() -> dict[str, str]:
    """Distances between the features of two sets of images."""
    return {
        "fid": "srkit_perceptual.sets:Fid",
        "kid": "srkit_perceptual.sets:Kid",
    }
