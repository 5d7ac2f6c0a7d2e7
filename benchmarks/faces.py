"""Does `srkit upscale --faces` help, and which way of using the model of faces helps most?

    python benchmarks/faces.py --scenes SCENES --embedder-weights FACENET.pt \
        --json benchmarks/results/faces.json

Portraits are reduced to several sizes, so that faces are from about 10 to 170 LR pixels long, then
degraded (x4), upscaled by a general model, and their faces restored in several ways:

- `faces`: as the command does, in the image's own grid, at its own resolution
- `unmirrored`: the same, from one answer of the model, not from the mean of two
- `half`: the mean of `faces` and the general result
- `spline`: resampled to the face's frame at its own resolution by quintic splines, and back
- `bicubic`: the same by bicubic, as `srkit prepare` aligns
- `16`, `32`, `64`: by that, reduced to so many pixels; only scenes whose frame has more

Scored within MTCNN's box of the undegraded portrait: PSNR, SSIM, and the L2 distance of FaceNet's
embeddings to that of the undegraded face; all are cut by that same box. Where no face is found in
the LR image, the general result stands, and the scene doesn't count as better. Intervals are of
the mean difference to the general result: paired bootstrap over scenes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faces_picture import GENERAL, MODEL, NOISES, SCALE, astronaut, degraded
from faces_ways import ways
from PIL import Image
from srkit_restore import restore
from srkit_restore.frames import longer_side

from srkit import registry
from srkit.evaluation.protocol import fingerprint
from srkit.evaluation.statistics import interval
from srkit.faces import align
from srkit.hookspecs import Face
from srkit.imaging import codec
from srkit.inference import arrays
from srkit.inference.model import Model
from srkit.models import checkpoint
from srkit.models.load import load

SIZES = {"1": 1, "1/2": 2, "1/4": 4, "1/8": 8}  # of the portrait, by which it is reduced first
SIDE = 160  # what FaceNet looks at
METRICS = ("psnr", "ssim")


@dataclass(frozen=True)
class Scene:
    """A portrait, what it was degraded to, and where its face is.

    Attributes:
        hr: The portrait.
        face: The largest in it.
        lr: Its degraded pixels, ``hw3``.
        general: Those upscaled by the general model, ``HW3``.
    """

    hr: Image.Image
    face: Face
    lr: np.ndarray
    general: np.ndarray

    def scores(self, sr: np.ndarray, embedder: Any) -> dict[str, float]:
        """Return the distance to the undegraded face, PSNR and SSIM."""
        crops = [align.crop(image, self.face, SIDE) for image in (Image.fromarray(sr), self.hr)]
        result, original = embedder(torch.cat([codec.to_tensor(crop) for crop in crops]))
        left, top, right, bottom = (round(max(0.0, side)) for side in self.face.box)
        ours, theirs = (
            torch.from_numpy(arrays.to_values(array[None, top:bottom, left:right]))
            for array in (sr, np.asarray(self.hr))
        )
        scored = {m: float(registry.build("metrics", m)(ours, theirs)[0]) for m in METRICS}
        scored["distance"] = float((result - original).norm())
        return {metric: round(score, 5) for metric, score in scored.items()}


def scenes(files: list[Path], by: int, noise: float, general: Model, seed: int) -> Iterator[Scene]:
    """Degrade portraits, reduced by a whole number first; noise follows from seed and place."""
    detector = align.detector()
    for number, file in enumerate(files):
        whole = codec.read(file).rgb
        face = detector.faces(whole)[0]
        size = tuple(round(n / by / SCALE) * SCALE for n in whole.size)
        hr = whole.resize(size, Image.Resampling.LANCZOS) if by > 1 else whole
        box = tuple(v * n / m for v, n, m in zip(face.box, size * 2, whole.size * 2, strict=True))
        lr = degraded(hr, noise, seed + number)
        sr = general.upscale(lr)
        yield Scene(hr, Face(box, face.probability), lr, sr)


def compared(rows: list[dict[str, Any]], way: str) -> dict[str, Any]:
    """Return means and intervals of one way against the general result."""
    both = [row for row in rows if row["scores"].get(way)]
    summary: dict[str, Any] = {"scenes": len(both)}
    for metric in ("distance", *METRICS):
        ours = np.array([row["scores"][way][metric] for row in both])
        without = np.array([row["scores"]["general"][metric] for row in both])
        gains = ours - without if metric != "distance" else without - ours
        summary[metric] = {"mean": float(ours.mean())}
        if way != "general":
            summary[metric] |= {
                "without": float(without.mean()),
                "better": int((gains > 0).sum()),
                "difference": float((ours - without).mean()),
                "difference_95": interval(ours - without),
            }
    return summary


def measure(
    files: list[Path], models: tuple[Model, Model], embedder: Any, seed: int
) -> list[dict[str, Any]]:
    """Measure every way at every size and noise."""
    model, general = models
    tables, columns = [], ways(model)
    for size, by in SIZES.items():
        for noise in NOISES:
            rows = []
            for file, scene in zip(files, scenes(files, by, noise, general, seed), strict=True):
                scores: dict[str, Any] = {"general": scene.scores(scene.general, embedder)}
                found = False
                for way, restored in columns.items():
                    if made := restored(scene.lr, scene.general):
                        scores[way] = scene.scores(made[0], embedder)
                        found = made[1] if way == "faces" else found
                length = longer_side(scene.face) / SCALE
                rows.append(
                    {"scene": file.name, "face": length, "restored": found, "scores": scores}
                )
            its = [way for way in ("general", *columns) if any(way in r["scores"] for r in rows)]
            compare = {way: compared(rows, way) for way in its}
            table = {"size": size, "noise": noise, "columns": compare, "rows": rows}
            report(table)
            tables.append(table)
    return tables


def report(table: dict[str, Any]) -> None:
    """Print one table."""
    found = sum(row["restored"] for row in table["rows"])
    print(f"size {table['size']}, noise {table['noise']}, {found} faces restored")
    for way, its in table["columns"].items():
        line = f"  {way:10} n {its['scenes']:2}"
        for metric in ("distance", *METRICS):
            line += f"   {metric} {its[metric]['mean']:.3f}"
            if way != "general":
                low, high = its[metric]["difference_95"]
                line += f" ({its[metric]['difference']:+.3f}, {low:+.3f} to {high:+.3f}, "
                line += f"better {its[metric]['better']})"
        print(line, flush=True)


def of_astronaut(models: tuple[Model, Model], embedder: Any) -> dict[str, Any]:
    """Return the scores of scikit-image's astronaut, as the documentation shows her."""
    result = {}
    for noise in NOISES:
        made = astronaut(*models, noise)
        hr = Image.fromarray(made["hr"])
        scene = Scene(hr, align.detector().faces(hr)[0], made["lr"], made["general"])
        result[str(noise)] = {k: scene.scores(made[k], embedder) for k in ("general", "faces")}
        print("astronaut", noise, result[str(noise)])
    return result


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--embedder-weights", default="")
    parser.add_argument("--model", default=MODEL, help="of faces")
    parser.add_argument("--general", default=GENERAL)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model, general = load(arguments.model, device="cpu"), load(arguments.general, device="cpu")
    embedder = registry.build("embedders", "facenet", weights=arguments.embedder_weights)
    files = codec.listed(arguments.scenes)
    with torch.inference_mode():
        results = {
            "protocol": {
                "files": len(files),
                "fingerprint": fingerprint(files),
                "sizes": "of the portrait, reduced by Pillow's Lanczos before it is degraded",
                "degradation": "faces-x4",
                "provider": registry.provenance("degradations", "faces-x4"),
                "noises": NOISES,
                "seed": arguments.seed,
                "box": "largest MTCNN box of the undegraded portrait, for every column",
                "distance": "L2 between unit embeddings of the box, square, widened by "
                f"{align.MARGIN}, {SIDE}x{SIDE}, and of the same of the undegraded portrait",
                "scores": "8-bit RGB within the box; SSIM with a Gaussian window of sigma 1.5",
                "interval": "95%, of the mean difference to general, bootstrap over scenes",
                "embedder": embedder.name,
                "embedder_sha256": embedder.sha256,
                "model": {"name": model.name, "sha256": model.sha256},
                "general": {"name": general.name, "sha256": general.sha256},
                "restorer": restore.FaceRestorer(model).key(),
                "versions": checkpoint.versions(),
            },
            "astronaut": of_astronaut((model, general), embedder),
            "tables": measure(files, (model, general), embedder, arguments.seed),
        }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
