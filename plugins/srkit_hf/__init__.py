"""Hugging Face data sets as sources of training images (extra ``hf``)."""

import srkit


@srkit.hookimpl
def srkit_sources() -> dict[str, str]:
    """Data sets of the Hub by id, and folders that ``save_to_disk`` wrote."""
    names = ("hf:", "dataset_dict.json", "dataset_info.json")
    return dict.fromkeys(names, "srkit_hf.source:open_source")
