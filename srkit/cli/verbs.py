"""The verbs of the core; a verb's module is imported when it is called."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb as ``srkit --help`` lists it, before its module is imported."""

    name: str  # of its module in srkit.cli, too, and of the function in it
    summary: str
    examples: str


VERBS = (
    Verb(
        "train",
        "Train a network by a recipe.",
        "srkit train faces-tiny --data samples\nsrkit train faces --data photos/ --steps 20000",
    ),
    Verb(
        "upscale",
        "Upscale image files, or restore the faces in photos.",
        "srkit upscale photo.jpg\nsrkit upscale album/ --out large/ --faces",
    ),
    Verb(
        "bench",
        "Measure models: image quality, and how well identity is kept.",
        "srkit bench faces --data photos/\n"
        "srkit bench faces --verify imm --verify-data imm/ --report report/",
    ),
)
