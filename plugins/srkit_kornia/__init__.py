"""Degradations, batched on the device, on kornia and torch."""

import srkit


@srkit.hookimpl
def srkit_degradations() -> dict[str, str]:
    """The evaluation protocol's degradation of faces, at the usual factors."""
    return {
        "faces-x2": "srkit_kornia.degradations:faces_x2",
        "faces-x4": "srkit_kornia.degradations:faces_x4",
        "faces-x8": "srkit_kornia.degradations:faces_x8",
    }
