"""The verbs of the core; a verb's module is imported when it is called."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb as ``srkit --help`` lists it, before its module is imported."""

    name: str
    target: str  # module:function in srkit.cli
    summary: str
    examples: tuple[str, str]


VERBS = (
    Verb(
        "train",
        "train:train",
        "Train a network by a recipe.",
        ("srkit train faces-tiny --data samples", "srkit train faces --data photos/ --steps 20000"),
    ),
    Verb(
        "upscale",
        "upscale:upscale",
        "Upscale image files, or restore the faces in photos.",
        ("srkit upscale photo.jpg", "srkit upscale album/ --out large/ --faces"),
    ),
    Verb(
        "bench",
        "bench:bench",
        "Measure models: image quality, and how well identity is kept.",
        (
            "srkit bench faces --data photos/",
            "srkit bench faces --verify imm --verify-data imm/ --report report/",
        ),
    ),
)
