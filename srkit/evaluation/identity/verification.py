"""Same or different? Verification and identification, as in surveillance.

The gallery holds HR photos; probes are degraded and reconstructed. Short distances mean little
where strangers are as near, so every probe is held against everybody else's gallery photo too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srkit.evaluation.columns import HR, LR, Column
from srkit.evaluation.identity.estimate import Array, Estimate, share, weights
from srkit.evaluation.identity.found import Finder
from srkit.evaluation.identity.pairing import Drawn, draw_pairs
from srkit.evaluation.identity.people import stamp
from srkit.evaluation.identity.probes import DECIMALS, Reconstruction, degraded, pixels
from srkit.evaluation.identity.roc import Draws, Matching, Rates
from srkit.evaluation.identity.scores import Pairs, PairScores, SizeScores
from srkit.evaluation.measuring import BATCH, Progress, ignore
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.store import Store
from srkit.hookspecs import Person

DRAWS = 300  # of the bootstrap: a million impostors are counted anew in each
TARGETS = (1e-2, 1e-3)  # FAR
TARGET = 1e-2  # of the curve over sizes, which rests on fewer pairs
PAIRS, SIZE_PAIRS = 1000, 150
SIDES = (8, 12, 16, 24)


def pairs(
    columns: Sequence[Column],
    people: Sequence[Person],
    embedder: Any,
    protocol: Protocol,
    *,
    store: Store,
    align: str = "hr",
    pairs: int = PAIRS,
    sides: Sequence[int] = SIDES,
    size_pairs: int = SIZE_PAIRS,
    workers: int | None = None,
    batch_size: int = BATCH,
    progress: Progress = ignore,
) -> Pairs:
    """Measure verification; see `srkit.evaluation.identity.pairing.draw_pairs` for the draw.

    Args:
        columns: What to compare; LR and HR come by themselves.
        people: Of a face set.
        embedder: A registered embedder, built.
        protocol: Size, scale, degradation, seed; faces are framed by MTCNN.
        store: Keeps embeddings and boxes.
        align: ``hr`` or ``sr``; see `srkit.evaluation.identity.probes.ALIGNED`.
        pairs: How many same pairs are drawn.
        sides: Of LR, in pixels, for the curve over sizes; none leaves it out.
        size_pairs: How many of the pairs that curve rests on.
        workers: Threads that decode photos.
        batch_size: Pictures enlarged, and embedded, at a time.
        progress: Told what is done, how much, and of how much.

    Raises:
        InputError: Fewer than two people can make a pair, or ``align`` isn't known.
    """
    reconstruction = Reconstruction(
        columns,
        embedder,
        protocol,
        store=store,
        align=align,
        workers=workers,
        batch_size=batch_size,
        progress=progress,
    )
    finder, embeddings = reconstruction.finder, reconstruction.embeddings
    drawn = draw_pairs(people, pairs, protocol.seed, finder)
    gallery = embeddings(finder.crops(drawn.gallery, protocol.size), "gallery")
    scored, impostors = _scored(drawn, reconstruction, gallery, protocol)
    some = drawn.first(size_pairs)
    theirs = gallery[[drawn.people.index(name) for name in some.people]]
    sizes = [_size(side, some, reconstruction, theirs, protocol) for side in sides]
    notes = (
        []
        if len(drawn.probes) == pairs
        else [f"{pairs} same pairs were asked for; these people's photos make {len(drawn.probes)}"]
    )
    notes += _unresolved(impostors)
    said = stamp(protocol, embedder, align, drawn.roles) | {
        "pairs": pairs,
        "sides": list(sides),
        "size_pairs": size_pairs,
        "gallery": "one HR photo of each person who has a probe",
        "intervals": f"{DRAWS} draws of people",
    }
    return Pairs(
        said,
        scored,
        len(drawn.probes),
        len(drawn.probes),
        impostors,
        len(drawn.people),
        len(drawn.people) + len(drawn.probes),
        drawn.no_face,
        drawn.left_out,
        sizes,
        [*notes, *reconstruction.notes],
    )


def lr_of_pairs(
    people: Sequence[Person],
    protocol: Protocol,
    *,
    store: Store,
    pairs: int = PAIRS,
    sides: Sequence[int] = SIDES,
    size_pairs: int = SIZE_PAIRS,
    workers: int | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the LR pictures that `pairs` would have enlarged, uint8, ``hw3``, of all sides.

    Raises:
        InputError: See `pairs`.
    """
    finder = Finder(store, workers)
    drawn = draw_pairs(people, pairs, protocol.seed, finder)
    yield from pixels(degraded(finder.crops(drawn.probes, protocol.size), protocol))
    for side in sides:
        probes = drawn.first(size_pairs).probes
        yield from pixels(degraded(finder.crops(probes, side * protocol.scale), protocol))


def _scored(
    drawn: Drawn,
    reconstruction: Reconstruction,
    gallery: NDArray[np.float32],
    protocol: Protocol,
) -> tuple[dict[str, PairScores], int]:
    """Return the scores of every column, and how many impostors they rest on."""
    matched = {
        name: Matching(_apart(embedded, gallery), drawn.owner)
        for name, embedded in reconstruction.of(drawn.probes, protocol.size)
    }
    people = weights(len(drawn.people), DRAWS, protocol.seed)
    whole = {name: its.rates() for name, its in matched.items()}
    draws = {name: its.draws(people, TARGETS) for name, its in matched.items()}
    floor, ceiling = draws[LR].auc, draws[HR].auc
    strangers = _strangers(drawn, protocol.seed)
    rows = np.arange(len(strangers))
    scored = {
        name: PairScores(
            auc=Estimate.of(whole[name].auc, draws[name].auc),
            eer=Estimate.of(whole[name].eer, draws[name].eer),
            tar=_tar(whole[name], draws[name]),
            rank1=its.rank_1(people),
            closed=Estimate.of(
                _closed(whole[name], whole[LR], whole[HR]), share(draws[name].auc, floor, ceiling)
            ),
            roc=whole[name].thinned(),
            same=its.same.round(DECIMALS).tolist(),
            different=its.distances[rows, strangers].round(DECIMALS).tolist(),
        )
        for name, its in matched.items()
    }
    return scored, int(whole[HR].impostors)


def _size(
    side: int,
    drawn: Drawn,
    reconstruction: Reconstruction,
    gallery: NDArray[np.float32],
    protocol: Protocol,
) -> SizeScores:
    """Return the scores of probes of which LR has so many pixels a side."""
    people = weights(len(drawn.people), DRAWS, protocol.seed)
    found = {}
    for name, embedded in reconstruction.of(drawn.probes, side * protocol.scale):
        matching = Matching(_apart(embedded, gallery), drawn.owner)
        whole, draws = matching.rates(), matching.draws(people, [TARGET])
        found[name] = {
            "auc": Estimate.of(whole.auc, draws.auc),
            "tar": Estimate.of(whole.tar_at(TARGET), draws.tar[TARGET]),
        }
    return SizeScores(side, len(drawn.people) + len(drawn.probes), found)


def _closed(its: Rates, floor: Rates, ceiling: Rates) -> float:
    aucs = (np.array([rates.auc]) for rates in (its, floor, ceiling))
    return float(share(*aucs)[0])


def _tar(whole: Rates, draws: Draws) -> dict[str, Estimate]:
    found = {f"{t:g}": Estimate.of(whole.tar_at(t), draws.tar[t]) for t in TARGETS}
    return {target: its for target, its in found.items() if np.isfinite(its.value)}


def _unresolved(impostors: int) -> list[str]:
    few = [f"{target:g}" for target in TARGETS if impostors * target < 1]
    return [f"{impostors} impostors are too few for FAR {' and '.join(few)}"] if few else []


def _strangers(drawn: Drawn, seed: int) -> NDArray[np.intp]:
    """Return for each probe a place in the gallery that isn't its own, drawn by seed."""
    rng = random.Random(seed)
    people = len(drawn.people)
    steps = [rng.randrange(1, people) for _ in drawn.owner]
    return np.array([(own + step) % people for own, step in zip(drawn.owner, steps, strict=True)])


def _apart(probes: NDArray[np.float32], gallery: NDArray[np.float32]) -> Array:
    """Return the distance of every probe to every gallery photo, ``PxG``."""
    a, b = probes.astype(np.float64), gallery.astype(np.float64)
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distances: Array = np.sqrt(squares.clip(min=0)).round(DECIMALS)
    return distances
