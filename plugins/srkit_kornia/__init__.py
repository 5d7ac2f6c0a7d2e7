"""Degradations, batched on the device, on kornia and torch."""

import srkit


@srkit.hookimpl
def srkit_degradations() -> dict[str, str]:
    """The evaluation protocol's degradation at the usual factors, and chains of steps."""
    return {
        "chain": "srkit_kornia.chain:Chain",
        "faces-x2": "srkit_kornia.degradations:FacesX2",
        "faces-x4": "srkit_kornia.degradations:FacesX4",
        "faces-x8": "srkit_kornia.degradations:FacesX8",
        "first-order": "srkit_kornia.chain:first_order",
        "second-order": "srkit_kornia.chain:second_order",
        "web-faces": "srkit_kornia.chain:web_faces",
    }
