"""Verification and identification: same person or not, as in surveillance.

The gallery holds HR photos; probes are degraded and reconstructed. Short distances mean little
where strangers are as near, so every probe is compared with everybody else's gallery photo too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from srkit.evaluation.identity.embed import DECIMALS, Array32, Verifier
from srkit.evaluation.identity.people import Drawn, draw_pairs
from srkit.evaluation.identity.roc import DRAWS, Matching, between
from srkit.evaluation.methods import HR, LR
from srkit.evaluation.report import Pairs, PairScores, SizeScores
from srkit.evaluation.statistics import Array, Estimate, share, weights
from srkit.hookspecs import Person

TARGETS = (1e-2, 1e-3)  # FAR
TARGET = 1e-2  # of the curve over sizes, which rests on fewer pairs
PAIRS, SIZE_PAIRS = 1000, 150
LR_SIZES = (8, 12, 16, 24)


def pairs(
    verifier: Verifier,
    people: Sequence[Person],
    *,
    count: int = PAIRS,
    lr_sizes: Sequence[int] = LR_SIZES,
) -> Pairs:
    """Measure verification; see `srkit.evaluation.identity.people.draw_pairs` for the draw.

    The curve over sizes rests on the first `SIZE_PAIRS` pairs; no ``lr_sizes`` leave it out.

    Raises:
        InputError: Fewer than two people can make a pair.
    """
    drawn = draw_pairs(people, count, verifier.protocol.seed, verifier.finder)
    gallery = verifier.gallery(drawn.gallery, "gallery")
    notes: list[str] = []
    matchings = _matchings(verifier, drawn, gallery, verifier.protocol.size, notes)
    fewer = drawn.first(SIZE_PAIRS)
    gallery = gallery[[drawn.people.index(name) for name in fewer.people]]
    draws = weights(len(fewer.people), DRAWS, verifier.protocol.seed)
    sizes = []
    for lr_size in lr_sizes:
        size = lr_size * verifier.protocol.scale
        scores = {}
        for name, matching in _matchings(verifier, fewer, gallery, size, notes).items():
            figures = matching.figures(draws, [TARGET])
            scores[name] = {"auc": _estimate(figures["auc"]), "tar": _estimate(figures[TARGET])}
        sizes.append(SizeScores(lr_size, len(fewer.people) + len(fewer.probes), scores))
    impostors = int(matchings[HR].rates().impostors)
    stamp = verifier.stamp(drawn.roles) | {
        "pairs": count,
        "lr_sizes": list(lr_sizes),
        "size_pairs": SIZE_PAIRS,
        "gallery": "one HR photo of each person who has a probe",
        "intervals": f"{DRAWS} draws of people",
    }
    return Pairs(
        protocol=stamp,
        scores=_scores(matchings, drawn, verifier.protocol.seed),
        same=len(drawn.probes),
        different=len(drawn.probes),
        impostors=impostors,
        people=len(drawn.people),
        photos=len(drawn.people) + len(drawn.probes),
        no_face=drawn.no_face,
        left_out=drawn.left_out,
        sizes=sizes,
        # Two sets of probes may be of one size.
        notes=[*_too_few(len(drawn.probes), count, impostors), *dict.fromkeys(notes)],
    )


def _matchings(
    verifier: Verifier, drawn: Drawn, gallery: Array32, size: int, notes: list[str]
) -> dict[str, Matching]:
    """Return every method's distances between probes and gallery."""
    return {
        name: Matching(between(embedded, gallery), drawn.owner)
        for name, embedded in verifier.embedded(drawn.probes, size, notes)
    }


def _scores(matchings: Mapping[str, Matching], drawn: Drawn, seed: int) -> dict[str, PairScores]:
    people = weights(len(drawn.people), DRAWS, seed)
    figures = {name: matching.figures(people, TARGETS) for name, matching in matchings.items()}
    strangers = _strangers(drawn, seed)
    probes = np.arange(len(strangers))
    scores = {}
    for name, matching in matchings.items():
        auc, eer, *tars = figures[name].values()
        scores[name] = PairScores(
            auc=_estimate(auc),
            eer=_estimate(eer),
            tar={
                f"{target:g}": _estimate(tar)
                for target, tar in zip(TARGETS, tars, strict=True)
                if np.isfinite(tar[0])
            },
            rank1=matching.rank_1(people),
            closed=_estimate(share(auc, figures[LR]["auc"], figures[HR]["auc"])),
            roc=matching.rates().thinned(),
            same=matching.same.round(DECIMALS).tolist(),
            different=matching.distances[probes, strangers].round(DECIMALS).tolist(),
        )
    return scores


def _estimate(figures: Array) -> Estimate:
    """Return everybody's figure, the first, with the interval of the draws."""
    return Estimate.of(float(figures[0]), figures[1:])


def _too_few(drawn: int, count: int, impostors: int) -> Iterator[str]:
    if drawn < count:
        yield f"{count} same pairs were requested; these people's photos make {drawn}"
    if few := [f"{target:g}" for target in TARGETS if impostors * target < 1]:
        yield f"{impostors} impostors are too few for FAR {' and '.join(few)}"


def _strangers(drawn: Drawn, seed: int) -> NDArray[np.intp]:
    """Return for each probe an index in the gallery that isn't its own, drawn by seed."""
    rng = random.Random(seed)
    people = len(drawn.people)
    steps = [rng.randrange(1, people) for _ in drawn.owner]
    return np.array([(own + step) % people for own, step in zip(drawn.owner, steps, strict=True)])
