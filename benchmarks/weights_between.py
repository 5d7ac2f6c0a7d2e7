"""Weights of the paper's scenario 4 that give the gap to scenario 1 that the paper has.

    python benchmarks/weights_between.py runs/between --data CELEBA \
        --json benchmarks/results/weights_between.json

The paper leaves them open (P10). At a share of 0 they are the recipe's plain sum, at 1 those of
``bare.py``, which keep the discriminator in doubt, times 2, so that the pixel-wise loss has its
weight of 2 at all shares; between both ends each is interpolated geometrically. The rule, stated
before the first run: halve the range of shares three times, from .5 on, towards the plain sum where
the gap is wider than the paper's .506 dB (P14), else away from it; take the share of these three
whose gap is the nearest. A gap is scenario 1's PSNR less scenario 4's, protocol ``paper``, RGB, on
the photos of CELEBA/val: seed 0, 3,000 steps, width .25, bf16, the rate halved in proportion to
the length. Test images have no part in it. Both ends are measured beside these. Goes on where it
was interrupted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import machine
from bare import WEIGHTS
from srkit_inception_gan.study import Study

import srkit

PAPER = 26.615 - 26.109
STEPS = 3000
HALVINGS = 3
SMALL = {"precision": "bf16", "generator.width": 0.25, "discriminator.width": 0.25}
SUM = {"adversarial.weight": 1.0, "losses.feature.weight": 1.0, "losses.psnr.weight": 1.0}


def between(share: float) -> dict[str, float]:
    """Return scenario 4's weights at a share of the way from the plain sum to ``bare.py``'s."""
    return {
        path: round(first * (2 * WEIGHTS[path] / first) ** share, 4) for path, first in SUM.items()
    }


def trained(
    scenario: int, weights: Mapping[str, float], arguments: argparse.Namespace
) -> tuple[float, dict[str, Any]]:
    """Train a scenario, or go on with it; return its PSNR and the last line of its log."""
    settings = SMALL | (dict(weights) if scenario == 4 else {})
    named = "-".join(f"{weight:g}" for weight in weights.values()) if scenario == 4 else "pixel"
    out = arguments.out / named
    study = Study([scenario], 1, settings, str(arguments.data), None, out, "cpu")
    (run,) = study.runs([arguments.steps])
    study.train(run)
    model = srkit.load(run.folder, device="cpu")
    report = srkit.bench([model], protocol="paper", data=str(arguments.data / "val"))
    assert report.quality is not None
    lines = (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return report.quality.mean(model.name, "psnr"), json.loads(lines[-1])


def measured(share: float, first: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train scenario 4 at a share; return its gap, and how often the discriminator is right."""
    weights = between(share)
    psnr, last = trained(4, weights, arguments)
    accuracy = last["losses"]["d_accuracy"]
    print(f"share {share}: gap {first - psnr:.3f} dB, accuracy {accuracy:.3f}", flush=True)
    return {"share": share, "weights": weights, "gap": first - psnr, "accuracy": accuracy}


def main() -> None:
    """Halve the range, print and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    first, _ = trained(1, {}, given)
    rows = []
    share, width = 0.5, 0.25
    for _ in range(HALVINGS):
        rows.append(row := measured(share, first, given))
        share += width if row["gap"] < PAPER else -width
        width /= 2
    nearest = min(rows, key=lambda row: abs(row["gap"] - PAPER))
    print(f"nearest to {PAPER:.3f} dB: share {nearest['share']}, {nearest['weights']}")
    found = {
        **machine.processor(),
        "paper": PAPER,
        "steps": given.steps,
        "scenario_1": first,
        "tried": rows,
        "ends": [measured(end, first, given) for end in (0.0, 1.0)],
        "chosen": nearest,
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
