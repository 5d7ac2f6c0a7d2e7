"""Enlarge a folder of images with any program; what all scripts of peers share.

Needs numpy and Pillow only, for it runs in every peer's own environment. A script gives a
function that loads its network; this file does the rest: what is enlarged already is left alone,
an image appears under its name only when it is whole, and seconds are taken one image at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SCALE = 4
WARM_UP, TIMED = 5, 50
PROGRAM, SECONDS = "program.json", "seconds.json"

Enlarge = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Program:
    """A network that is ready.

    Attributes:
        name: Of the network.
        enlarge: uint8 RGB, ``hw3``, to uint8 RGB, ``HW3``, 4 times as large.
        sha256: Of its weights.
        licence: Of its weights.
        packages: Distributions of this environment whose versions matter.
        threads: How many it really uses.
    """

    name: str
    enlarge: Enlarge
    sha256: str
    licence: str
    packages: Sequence[str]
    threads: int

    def stamp(self) -> dict[str, Any]:
        """Return what decides this program's images."""
        versions = {name: metadata.version(name) for name in self.packages}
        return {
            "program": self.name,
            "sha256": self.sha256,
            "licence": self.licence,
            "versions": {"python": platform.python_version(), **versions},
        }


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of weights that lie in these files, one after the other."""
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Return values in [0, 1] as uint8: clamped, and rounded to the nearest."""
    rounded: np.ndarray = np.floor(np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rounded


def read(file: Path) -> np.ndarray:
    """Return an image, uint8 RGB, ``hw3``."""
    with Image.open(file) as image:
        pixels: np.ndarray = np.asarray(image.convert("RGB"))
    return pixels


def write(file: Path, image: np.ndarray) -> None:
    """Write a PNG that is whole under its name, or not there."""
    part = file.with_suffix(".part")
    Image.fromarray(image).save(part, format="PNG")
    part.replace(file)


def write_json(file: Path, value: Any) -> None:
    """Write JSON in the same way."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def enlarge(program: Program, lr: Path, sr: Path) -> list[Path]:
    """Enlarge every PNG in ``lr`` into ``sr`` that isn't there yet.

    Returns:
        The files in ``lr``.

    Raises:
        SystemExit: There is none; or ``sr`` holds another program's images; or the program
            gives an image of a wrong size.
    """
    files = sorted(lr.glob("*.png"))
    if not files:
        sys.exit(f"{lr} holds no .png; let srkit bench --write-lr write them")
    sr.mkdir(parents=True, exist_ok=True)
    _claim(sr, program.stamp())
    missing = [file for file in files if not (sr / file.name).is_file()]
    for done, file in enumerate(missing, 1):
        small = read(file)
        large = program.enlarge(small)
        wanted = (small.shape[0] * SCALE, small.shape[1] * SCALE, 3)
        if large.shape != wanted or large.dtype != np.uint8:
            sys.exit(f"{program.name}: {file} became {large.dtype} {large.shape}, not {wanted}")
        write(sr / file.name, large)
        if done % 50 == 0 or done == len(missing):
            print(f"{program.name}: {done} of {len(missing)}", file=sys.stderr, flush=True)
    return files


def _claim(sr: Path, stamp: dict[str, Any]) -> None:
    """Refuse to mix images of two programs, or of two versions of one."""
    file = sr / PROGRAM
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != stamp:
        sys.exit(f"{sr} was made by another program or version, see {file}; empty it first")
    write_json(file, stamp)


def seconds(program: Program, files: Sequence[Path], timed: int = TIMED) -> dict[str, Any]:
    """Return the median seconds an image, one at a time, of the size that most files have.

    Reading and writing of files isn't counted: they are the same for all.
    """
    images = [read(file) for file in files]
    size, _ = Counter(image.shape for image in images).most_common(1)[0]
    chosen = [image for image in images if image.shape == size][:timed]
    for image in (chosen * WARM_UP)[:WARM_UP]:
        program.enlarge(image)
    taken = []
    for image in chosen:
        began = time.perf_counter()
        program.enlarge(image)
        taken.append(time.perf_counter() - began)
    return {
        "seconds": statistics.median(taken),
        "fastest": min(taken),  # far from the median: the machine wasn't quiet
        "threads": program.threads,
        "images": len(chosen),
        "size": f"{size[1]}x{size[0]}",
    }


def _timed(program: Program, file: Path) -> dict[str, Any]:
    """Return what was measured of the same program with as many threads; empty if nothing was."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    wanted = {**program.stamp(), "threads": program.threads}
    return found if all(found.get(key) == value for key, value in wanted.items()) else {}


def main(
    description: str | None,
    load: Callable[[argparse.Namespace], Program],
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Be a script: ``LR SR [--threads N]``.

    Args:
        description: For ``--help``.
        load: Returns the program; it has ``arguments.threads``.
        options: Adds further options to the parser.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("lr", type=Path, help="folder of PNGs")
    parser.add_argument("sr", type=Path, help="folder for PNGs 4 times as large")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timed", type=int, default=TIMED, help="images that are timed")
    options(parser)
    arguments = parser.parse_args()
    program = load(arguments)
    files = enlarge(program, arguments.lr, arguments.sr)
    found = _timed(program, arguments.sr / SECONDS)
    if not found:
        found = {**seconds(program, files, arguments.timed), **program.stamp()}
        write_json(arguments.sr / SECONDS, found)
    print("{program}: {seconds:.4f} s an image of {size}, {threads} thread(s)".format(**found))
