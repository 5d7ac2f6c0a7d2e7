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
from srkit.evaluation.identity.roc import Matching
from srkit.evaluation.methods import HR, LR
from srkit.evaluation.report import Pairs, PairScores, SizeScores
from srkit.evaluation.statistics import Array, Estimate, share, weights
from srkit.hookspecs import Person

DRAWS = 300  # resamples of the bootstrap: a million impostors are counted anew in each
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
    their_gallery = gallery[[drawn.people.index(name) for name in fewer.people]]
    sizes = [_size(size, fewer, verifier, their_gallery, notes) for size in lr_sizes]
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
        name: Matching(_distances(embedded, gallery), drawn.owner)
        for name, embedded in verifier.embedded(drawn.probes, size, notes)
    }


def _scores(matchings: Mapping[str, Matching], drawn: Drawn, seed: int) -> dict[str, PairScores]:
    people = weights(len(drawn.people), DRAWS, seed)
    rates = {name: matching.rates() for name, matching in matchings.items()}
    draws = {name: matching.draws(people, TARGETS) for name, matching in matchings.items()}
    strangers = _strangers(drawn, seed)
    probes = np.arange(len(strangers))
    scores = {}
    for name, matching in matchings.items():
        whole, drawn_rates = rates[name], draws[name]
        closed = share(*(np.array([r.auc]) for r in (whole, rates[LR], rates[HR])))
        tar = {f"{t:g}": Estimate.of(whole.tar_at(t), drawn_rates.tar[t]) for t in TARGETS}
        scores[name] = PairScores(
            auc=Estimate.of(whole.auc, drawn_rates.auc),
            eer=Estimate.of(whole.eer, drawn_rates.eer),
            tar={target: rate for target, rate in tar.items() if np.isfinite(rate.value)},
            rank1=matching.rank_1(people),
            closed=Estimate.of(
                float(closed[0]), share(drawn_rates.auc, draws[LR].auc, draws[HR].auc)
            ),
            roc=whole.thinned(),
            same=matching.same.round(DECIMALS).tolist(),
            different=matching.distances[probes, strangers].round(DECIMALS).tolist(),
        )
    return scores


def _size(
    lr_size: int, drawn: Drawn, verifier: Verifier, gallery: Array32, notes: list[str]
) -> SizeScores:
    """Return the scores of probes whose LR has ``lr_size`` pixels a side."""
    people = weights(len(drawn.people), DRAWS, verifier.protocol.seed)
    size = lr_size * verifier.protocol.scale
    scores = {}
    for name, matching in _matchings(verifier, drawn, gallery, size, notes).items():
        whole, draws = matching.rates(), matching.draws(people, [TARGET])
        scores[name] = {
            "auc": Estimate.of(whole.auc, draws.auc),
            "tar": Estimate.of(whole.tar_at(TARGET), draws.tar[TARGET]),
        }
    return SizeScores(lr_size, len(drawn.people) + len(drawn.probes), scores)


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


def _distances(probes: Array32, gallery: Array32) -> Array:
    """Return the distance of every probe to every gallery photo, ``PxG``."""
    a, b = probes.astype(np.float64), gallery.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distances: Array = np.sqrt(squares.clip(min=0)).round(DECIMALS)
    return distances
