"""What the paper reports of its four scenarios, and what it claims of them (P14 to P18)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from srkit import Recipe
from srkit_inception_gan import recipes


class Scenario(NamedTuple):
    """One of the four trainings: its recipe, Table I, and its steps in two hours (Fig. 7)."""

    label: str
    recipe: Callable[[], Recipe]
    psnr: float
    ssim: float
    steps: int | None = None  # the text states the first and the last


SCENARIOS = {
    1: Scenario("1 pixel", recipes.pixel, 26.615, 0.8461, 41_410),
    2: Scenario("2 + adversarial", recipes.adversarial, 26.332, 0.8357),
    3: Scenario("3 + feature", recipes.feature, 26.018, 0.8224),
    4: Scenario("4 + PSNR", recipes.psnr, 26.109, 0.8313, 27_840),
}

# Table II: L2 distance of FaceNet embeddings, base to reconstruction; five people, two images each.
DISTANCES = {
    1: (0.2236, 0.1818, 0.1692, 0.2097, 0.1724, 0.2254, 0.1319, 0.1505, 0.1979, 0.2705),
    4: (0.1216, 0.1670, 0.1142, 0.1768, 0.1384, 0.1398, 0.1252, 0.1476, 0.1897, 0.1953),
}

DISTANCE, FRAMED = "distance", "distance in CelebA's framing"


class Claim(NamedTuple):
    """A statement of the paper: measures are higher in one scenario (0: bicubic) than in another.

    All measures must agree, since the paper doesn't say whether it means RGB or luma.
    """

    text: str
    source: str
    measures: tuple[str, ...]
    higher: int
    lower: int
    published: float | None = None  # the difference that the paper states; of speeds, ratio less 1


def _table_1(text: str, higher: int, lower: int) -> list[Claim]:
    a, b = SCENARIOS[higher], SCENARIOS[lower]
    return [
        Claim(f"{text} PSNR", "Table I", ("psnr", "psnr-y"), higher, lower, a.psnr - b.psnr),
        Claim(f"{text} SSIM", "Table I", ("ssim", "ssim-y"), higher, lower, a.ssim - b.ssim),
    ]


CLAIMS = [
    *_table_1("The adversary costs", 1, 2),
    *_table_1("The feature term costs", 2, 3),
    *_table_1("The PSNR term wins back", 4, 3),
    # LSD, the log-spectral distance to HR, is lower where there is more of HR's detail.
    Claim("Scenario 1 has more detail than bicubic", "Fig. 4", ("lsd",), 0, 1),
    *(Claim(f"Scenario 1 is smoother than {n}", "Fig. 4", ("lsd",), 1, n) for n in (2, 3, 4)),
    Claim("Scenario 1 is faster than 4", "Fig. 7", ("speed",), 1, 4, 41_410 / 27_840 - 1),
    Claim(
        "Scenario 4 keeps the person better than 1",
        *("Table II", (DISTANCE, FRAMED), 1, 4),
        published=(sum(DISTANCES[1]) - sum(DISTANCES[4])) / 10,
    ),
]
