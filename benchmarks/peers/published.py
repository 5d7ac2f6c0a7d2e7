"""What `srkit bench` and the peers' ``seconds.json`` say, as one JSON and one Markdown table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder

from srkit.evaluation.methods import HR, LR
from srkit.evaluation.report import Report
from srkit.files import atomic

METRICS = ("psnr", "ssim")
NOTHING = "–"
HEADINGS = (
    "",
    "PSNR, dB",
    "over bicubic [95%]",
    "SSIM",
    "identity distance [95%]",
    "gap closed",
    "ms an image",
    "weights",
)
Figures = dict[str, Any]


def collected(report: Path, seconds: Mapping[str, Path], failed: Mapping[str, str]) -> Figures:
    """Return what is published.

    Args:
        report: The JSON of `srkit bench`, with quality.
        seconds: Method to the folder of its images, where `folder.SECONDS` lies.
        failed: Peers that couldn't be run, and why.

    Raises:
        InputError: The report can't be read.
        ValueError: It has no quality.
    """
    found = Report.read(report)
    quality, identity = found.quality, found.everybody or found.distances
    if quality is None:
        raise ValueError(f"{report} has no quality: give srkit bench --data")
    faces = identity.as_json()["summary"] if identity else {}
    methods: dict[str, Figures] = {}
    for name in dict.fromkeys([*quality.scores, *faces]):
        its: Figures = {}
        for metric in quality.metrics if name in quality.scores else ():
            gain, *ends = quality.gain(name, metric)
            its[metric] = {"mean": quality.mean(name, metric), "gain": gain, "gain_95": ends}
        if name in faces:
            its["identity"] = faces[name]
        if name in seconds:
            file = seconds[name] / folder.SECONDS
            its["speed"] = json.loads(file.read_text(encoding="utf-8"))
        methods[name] = its
    return {
        "methods": methods,
        "left_out": dict(failed),
        "images": len(quality.images),
        "probes": len(identity.rows) if identity else 0,
        "people": identity.people if identity else 0,
        "protocol": quality.protocol,
        "identity_protocol": identity.protocol if identity else None,
        "warnings": found.warnings,
        "machine": found.run.get("machine"),
    }


def markdown(found: Figures) -> str:
    """Return the table, and beneath it what it rests on."""
    rows = [HEADINGS, ("---", *["---:"] * (len(HEADINGS) - 2), "---")]
    rows += [_row(name, its) for name, its in found["methods"].items()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["# Peers", "", *lines, "", *_notes(found), ""])


def _row(name: str, its: Figures) -> tuple[str, ...]:
    psnr, ssim = (its.get(metric) for metric in METRICS)
    face, speed = its.get("identity"), its.get("speed")
    return (
        name,
        f"{psnr['mean']:.2f}" if psnr else NOTHING,
        f"{psnr['gain']:+.2f} {_ends(psnr['gain_95'], '+.2f')}" if psnr else NOTHING,
        f"{ssim['mean']:.4f}" if ssim else NOTHING,
        f"{face['mean']:.3f} {_ends(face['mean_95'], '.3f')}" if face else NOTHING,
        _share(face["closed"]["value"]) if face and name not in (LR, HR) else NOTHING,
        f"{1000 * speed['seconds']:.1f}" if speed else NOTHING,
        speed["licence"] if speed else NOTHING,
    )


def _ends(ends: list[float], places: str) -> str:
    low, high = ends
    return f"[{low:{places}}, {high:{places}}]"


def _share(value: float) -> str:
    return f"{round(100 * value)}%" if math.isfinite(value) else NOTHING


def _notes(found: Figures) -> list[str]:
    """Return what the figures rest on, a paragraph each."""
    protocol, faces = found["protocol"], found["identity_protocol"]
    said = [
        f"Quality: {found['images']} images, fingerprint `{protocol['fingerprint']}`, protocol "
        f"`{protocol['name']}`: {protocol['framing']} to {protocol['size']}x{protocol['size']}, "
        f"degradation `{protocol['degradation']}`, {protocol['scores']}."
    ]
    if faces:
        said.append(
            f"Identity: {found['probes']} probes of {found['people']} people, fingerprint "
            f"`{faces['fingerprint']}`; {faces['distance']} to the base ({faces['base']}), less is "
            f"better, by {faces['embedder']}; faces aligned {faces['alignment']}; gap closed: 0% "
            f"as far as {LR}, 100% as near as {HR}."
        )
    timed = [its["speed"] for its in found["methods"].values() if "speed" in its]
    if timed:
        size = ", ".join(sorted({speed["size"] for speed in timed}))
        threads = ", ".join(
            f"{name} {its['speed']['threads']}"
            for name, its in found["methods"].items()
            if "speed" in its
        )
        said.append(
            f"Time: median of one image of {size} at a time, files not counted; threads: {threads}."
        )
    said += [f"Left out: {name}, {why}." for name, why in found["left_out"].items()]
    said += [f"Warning: {text}" for text in found["warnings"]]
    return [line for text in said for line in (text, "")][:-1]


def write(file: Path, text: str) -> None:
    """Write text that is whole under its name, or not there."""
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
