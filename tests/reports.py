"""Reports made up of random figures, for tests of what is done with them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from rich.console import Console, RenderableType

from srkit.evaluation.methods import BICUBIC, HR, LR, REFERENCES
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Distances, Pairs, PairScores, Quality, Report, Row, SizeScores
from srkit.evaluation.statistics import Estimate

ABOUT = {
    "psnr": {"unit": "dB", "higher_is_better": True, "title": "PSNR", "provider": "srkit 0"},
    "ssim": {"unit": "", "higher_is_better": True, "title": "SSIM", "provider": "srkit 0"},
    "lpips": {"unit": "", "higher_is_better": False, "title": "LPIPS", "provider": "srkit 0"},
}
EMBEDDER = {
    "embedder": "facenet (casia-webface)",
    "embedder_sha256": "c" * 64,
    "distance": "L2 between unit embeddings",
    "alignment": "largest MTCNN box of the HR photo",
}


def printed(what: RenderableType, width: int = 100) -> str:
    """Return what a terminal shows, which must fit into it."""
    output = io.StringIO()
    Console(file=output, width=width).print(what)
    text = output.getvalue()
    assert max(map(len, text.splitlines()), default=0) <= width
    assert "…" not in text
    return text


def stamp(**changes: Any) -> dict[str, Any]:
    return {**Protocol().stamp([]), **changes}


def quality(models: dict[str, float], count: int = 30, **changes: Any) -> Quality:
    """Scores of models that gain so many decibels over bicubic."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 3, count)  # some images are harder than others, for all
    gains = {**dict(zip(REFERENCES, (-2.0, 0.0, 0.3), strict=True)), **models}
    scores = {}
    for name, gain in gains.items():
        own = np.random.default_rng(len(name) * 1000 + ord(name[-1]))
        psnr = 25 + hard + gain + own.normal(0, 0.2, count)
        scores[name] = {
            "psnr": psnr.tolist(),
            "ssim": (psnr / 40).tolist(),
            "lpips": (1 - psnr / 60).tolist(),
        }
    return Quality(
        protocol=stamp(files=count, fingerprint="f" * 16, **changes),
        images=[f"{number:06d}.jpg" for number in range(count)],
        metrics=dict(ABOUT),
        scores=scores,
        seconds=dict.fromkeys(scores, 0.0123),
    )


def distances(models: dict[str, float], people: int = 5, **changes: Any) -> Distances:
    """Table II of models at such distances; three photos a person."""
    means = {LR: 1.3, BICUBIC: 1.2, **models, HR: 0.25}
    rng = np.random.default_rng(1)
    rows = []
    for person in range(people):
        own = rng.normal(0, 0.05)
        for photo in (2, 3):
            values = {name: float(d + own + rng.normal(0, 0.02)) for name, d in means.items()}
            name = f"{person:02d}"
            rows.append(Row(name, f"{name}-1m.jpg", f"{name}-{photo}m.jpg", values))
    return Distances(
        protocol=stamp(framing="face", **{**EMBEDDER, **changes}),
        rows=rows,
        no_face=["07/07-2m.jpg"],
        left_out=["07 (no probe with a face)"],
        people=people,
    )


def pairs(models: dict[str, float], **changes: Any) -> Pairs:
    """Verification by models of such AUC."""
    aucs = {LR: 0.6, BICUBIC: 0.78, **models, HR: 0.984}
    rng = np.random.default_rng(2)

    def near(value: float) -> Estimate:
        return Estimate(value, value - 0.02, value + 0.01)

    return Pairs(
        protocol=stamp(framing="face", **{**EMBEDDER, **changes}),
        scores={
            name: PairScores(
                auc=near(auc),
                eer=near(1 - auc),
                tar={"0.01": near(auc / 2), "0.001": near(auc / 4)},
                rank1=near(auc / 3),
                closed=near((auc - 0.6) / 0.384),
                roc={"far": [0.0, 1.0], "tar": [0.0, 1.0]},
                same=rng.uniform(0, 1, 4).tolist(),
                different=rng.uniform(1, 2, 4).tolist(),
            )
            for name, auc in aucs.items()
        },
        same=4,
        different=4,
        impostors=1200,
        people=40,
        photos=80,
        no_face=[],
        left_out=[],
        sizes=[
            SizeScores(size, 60, {n: {"auc": near(a), "tar": near(a / 2)} for n, a in aucs.items()})
            for size in (8, 16)
        ],
    )


def report(models: dict[str, float], **parts: Any) -> Report:
    """A report of models' decibels, with these parts, or quality alone."""
    known = {name: {"sha256": name[0] * 64} for name in models}
    return Report(known, **(parts or {"quality": quality(models)}))
