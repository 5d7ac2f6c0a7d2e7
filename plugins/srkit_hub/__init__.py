"""Models from the Hugging Face Hub."""

import srkit


@srkit.hookimpl
def srkit_hubs() -> dict[str, str]:
    """Repositories with weights of srkit, or of a kind that a reader reads."""
    return {"hf://": "srkit_hub.hub:download"}
