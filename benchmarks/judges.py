"""Identity on LFW by three embedders: interpolation, the shipped model and other programs.

    srkit bench --verify lfw --verify-data LFW --pairs 300 --lr-sizes 16 --write-lr lr
    ENVS/dat_light/bin/python benchmarks/peers/dat_light.py lr sr/dat-light --threads 1
    ENVS/real_esrgan/bin/python benchmarks/peers/real_esrgan.py lr sr/real-esrgan-x4plus --threads 1
    python benchmarks/judges.py --lfw LFW --facenet-weights FACENET.pt --pairs 300 \
        --results dat-light=sr/dat-light --results real-esrgan-x4plus=sr/real-esrgan-x4plus \
        --json benchmarks/results/judges.json

Faces of 16x16 pixels, upscaled to 64x64, protocol `paper`; see `srkit bench --verify`. The
environments are those of ``benchmarks/peers``; other programs can be left out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

from rich.console import Console

import srkit
from srkit.cli.bench import by_name
from srkit.evaluation.report_tables import judges_table

JUDGES = ("facenet", "dlib", "sface")


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lfw", default="lfw")
    parser.add_argument("--facenet-weights", required=True)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--results", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    began = time.process_time()
    report = srkit.bench(
        ["faces", "faces-clean", "faces-identity"],
        verify="lfw",
        verify_data=arguments.lfw,
        embedder=JUDGES,
        embedder_weights={"facenet": arguments.facenet_weights},
        pairs=arguments.pairs,
        lr_sizes=(),
        results=by_name(arguments.results),
        device="cpu",
    )
    seconds = time.process_time() - began
    table = judges_table(report)
    Console().print(table)
    if not (arguments.json and report.pairs):
        return
    parts = [part.pairs for _, part in report.by_judge() if part.pairs]
    rows = []
    for (method, judge), values in table.rows:
        figures = {
            heading: [round(number, 4) for number in (v.value, v.low, v.high) if number == number]
            for heading, v in zip(table.headings, values, strict=True)
            if not math.isnan(v.value)
        }
        rows.append({"method": method, "judge": judge, **figures})
    found = {
        "protocol": dict(table.protocol),
        "embedders": {p.protocol["embedder"]: p.protocol["embedder_sha256"] for p in parts},
        "models": report.models,
        "warnings": [line.partition(" (")[0] for line in report.warnings],
        "pairs": report.pairs.same,
        "impostors": report.pairs.impostors,
        "people": report.pairs.people,
        "auc": {
            p.protocol["embedder"]: {m: round(s.auc.value, 4) for m, s in p.scores.items()}
            for p in parts
        },
        "rows": rows,
        "cpu_seconds": round(seconds),
        "machine": report.run["machine"],
    }
    arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
