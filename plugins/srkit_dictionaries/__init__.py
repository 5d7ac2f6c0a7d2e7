"""Super-resolution by dictionaries of patches, as before networks: fitted, not trained."""

import srkit


@srkit.hookimpl
def srkit_generators() -> dict[str, str]:
    """In the order of their papers."""
    return {
        "sparse-coding": "srkit_dictionaries.generators:SparseCoding",
        "a-plus": "srkit_dictionaries.generators:APlus",
    }
