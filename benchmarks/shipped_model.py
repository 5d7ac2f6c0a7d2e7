"""PSNR, SSIM, identity distance and verification of the shipped models: the tables of their cards.

    python benchmarks/shipped_model.py --data CELEBA --imm IMM --lfw LFW \
        --embedder-weights FACENET.pt --json benchmarks/results/shipped_model.json

Quality on the test split under the protocols `square`, with ST-LPIPS, and `paper`; identity
distances over all people of IMM; 1,000 same and 1,000 different pairs of LFW, and the curve over
sizes. Each is what `srkit bench` prints. Embeddings are cached: the second run takes seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console

import srkit
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Report


def without_singles(report: Report) -> dict[str, Any]:
    """Return what is published of a report: means and intervals, no single image's score."""
    found = report.as_json()
    if found["quality"]:
        del found["quality"]["images"], found["quality"]["scores"], found["quality"]["seconds"]
    for part in ("distances", "everybody"):
        if found[part]:
            del found[part]["rows"]
    if found["pairs"]:
        found["pairs"]["left_out"] = len(found["pairs"]["left_out"])
        found["pairs"]["no_face"] = len(found["pairs"]["no_face"])
        for scores in found["pairs"]["scores"].values():
            for key in ("roc", "same", "different"):
                del scores[key]
    return found


def main() -> None:
    """Bench the shipped models, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--imm", default="imm")
    parser.add_argument("--lfw", default="lfw")
    parser.add_argument("--embedder-weights")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    judge = {"embedder_weights": arguments.embedder_weights}
    whole = {"verify": "imm", "verify_data": arguments.imm, "people": 0, **judge}
    runs: dict[str, dict[str, Any]] = {
        "square": {
            "data": arguments.data,
            "protocol": Protocol.named("square").with_metrics(("st-lpips",)),
        },
        "paper": {"data": arguments.data, **whole},
        "lfw": {"verify": "lfw", "verify_data": arguments.lfw, **judge},
    }
    results = {}
    for name, how in runs.items():
        began = time.perf_counter()
        report = srkit.bench(["faces", "faces-clean", "faces-identity", "faces-crisp"], **how)
        Console().print(report.tables())
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        results[name] = without_singles(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
