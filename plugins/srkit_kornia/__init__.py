"""Chains of random degradations, batched on the device, on kornia and torch."""

import srkit


@srkit.hookimpl
def srkit_degradations() -> dict[str, str]:
    """A chain of any steps, and ready ones."""
    return {
        "chain": "srkit_kornia.chain:Chain",
        "first-order": "srkit_kornia.chain:first_order",
        "second-order": "srkit_kornia.chain:second_order",
        "web-faces": "srkit_kornia.chain:web_faces",
    }
