"""Metrics of sr alone, for images without an original: NIQE and BRISQUE.

Their parameters come out of packages that others distribute, which are read and never imported:
both would bring OpenCV and more. Lower is better; both were fitted to photographs of all kinds,
not to faces.
"""

import srkit


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """How natural an image looks, by the statistics of its neighbouring pixels."""
    return {
        "brisque": "srkit_noreference.brisque:Brisque",
        "niqe": "srkit_noreference.niqe:Niqe",
    }
