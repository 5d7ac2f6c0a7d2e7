"""The verbs in the order one needs them; a verb's module is imported when it is called."""

from __future__ import annotations

from typing import NamedTuple

USE, MEASURE, MORE = "Train and use", "Measure", "More"


class Verb(NamedTuple):
    """A verb as ``srkit --help`` lists it, before its module is imported."""

    name: str
    target: str  # module:function in srkit.cli
    group: str
    summary: str
    examples: tuple[str, str]


VERBS = (
    Verb(
        "train",
        "train:train",
        USE,
        "Train a recipe.",
        ("srkit train faces-tiny --data samples", "srkit train faces --data photos/ --steps 20000"),
    ),
    Verb(
        "upscale",
        "upscale:upscale",
        USE,
        "Upscale image files.",
        ("srkit upscale photo.jpg", "srkit upscale album/ --out large/ --faces"),
    ),
    Verb(
        "bench",
        "bench:bench",
        MEASURE,
        "Measure models: image quality, and whether faces stay the same person's.",
        (
            "srkit bench faces --data photos/",
            "srkit bench faces --verify imm --verify-data imm/ --report report/",
        ),
    ),
)
