"""PSNR, SSIM and identity distance of the shipped model: README's table.

    python benchmarks/shipped_model.py --data CELEBA --verify-data IMM \
        --embedder-weights FACENET.pt --json benchmarks/results/shipped_model.json

Quality on the test split in both framings; identity over all people of the face set, two
probes each. `srkit bench` prints the same figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

import srkit


def main() -> None:
    """Bench the default model, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="celeba")
    parser.add_argument("--verify", default="imm")
    parser.add_argument("--verify-data")
    parser.add_argument("--embedder-weights")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    reports = {
        "square": srkit.bench(data=arguments.data, framing="square"),
        "squash": srkit.bench(
            data=arguments.data,
            framing="squash",
            verify=arguments.verify,
            verify_data=arguments.verify_data,
            embedder_weights=arguments.embedder_weights,
            people=0,
        ),
    }
    results = {}
    for framing, report in reports.items():
        Console().print(report.tables())
        results[framing] = report.as_json()
        for column in results[framing]["quality"]["columns"].values():
            for scores in column.values():
                del scores["each"]  # the means and intervals are what is published
        del results[framing]["quality"]["pictures"]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
