"""Whether the images of real pairs lie upon each other: checked before training."""

import srkit


@srkit.hookimpl
def srkit_pair_checks() -> dict[str, str]:
    """Names pairs of different scenes, and those whose lr is shifted."""
    return {"registration": "srkit_registration.pairs:misregistered"}
