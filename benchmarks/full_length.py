"""The paper's scenarios 1 and 4 at full length: quality, and identity in two framings.

    python benchmarks/full_length.py --data CELEBA --imm IMM --embedder-weights FACENET.pt \
        --json benchmarks/results/full_length.json

The shipped `inception-gan-pixel` and `inception-gan` under the protocol `paper`: PSNR, SSIM and LSD
on the test split, and over all people of IMM distances and AUC, of faces cut by a detector and of
faces framed as CelebA's images. Differences of the two have 95% intervals over images or people; of
one seed each, they tell these two weights apart, not the two scenarios.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

import srkit
from srkit.evaluation.report import Distances

MODELS = ("inception-gan-pixel", "inception-gan")
METRICS = ("psnr", "psnr-y", "ssim", "ssim-y", "lsd")


def difference(
    scores: Sequence[Sequence[float]], groups: Sequence[str] | None = None
) -> list[float]:
    """Return mean and 95% interval of scenario 4 less scenario 1."""
    first, last = scores
    found = srkit.difference(last, first, groups)
    return [found.mean, found.low, found.high]


def identity(distances: Distances) -> dict[str, Any]:
    """Return distances and AUC by method, and the difference of the scenarios' distances."""
    rows = {
        method: {
            "distance": [distances.mean(method), *distances.interval(method)],
            "auc": [auc.value, auc.low, auc.high],
        }
        for method, auc in distances.auc.items()
    }
    people = [row.person for row in distances.rows]
    return {
        "protocol": distances.protocol,
        "people": distances.people,
        "probes": len(distances.rows),
        "rows": rows,
        "difference": difference([distances.scores(name) for name in MODELS], people),
    }


def main() -> None:
    """Bench both models twice, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--imm", default="imm")
    parser.add_argument("--embedder-weights")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    faces = {"verify": "imm", "verify_data": arguments.imm, "people": 0}
    faces |= {"embedder_weights": arguments.embedder_weights, "device": "cpu"}
    whole = srkit.bench(MODELS, data=arguments.data, **faces)
    framed = srkit.bench(MODELS, align="celeba", **faces)
    for report in (whole, framed):
        Console().print(report.tables())
    scores = whole.quality.all_counted()
    result = {
        "models": whole.models,
        "protocol": whole.quality.protocol,
        "quality": {
            method: {metric: fmean(its[metric]) for metric in METRICS}
            for method, its in scores.items()
        },
        "difference": {
            metric: difference([scores[name][metric] for name in MODELS]) for metric in METRICS
        },
        "face": identity(whole.everybody),
        "celeba": identity(framed.everybody),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
