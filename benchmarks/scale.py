"""Images/s of `srkit upscale-dataset` and `srkit upscale --shard` with 1, 2 and 4 processes.

    python benchmarks/scale.py [--images 20000] [--json benchmarks/results/scale.json]

Images are crops of a photograph of scikit-image. Each run takes all of them, from files to files.
"Seconds" are those of the whole command; images/s are counted from the end of the first shard (of
the ledger's first line) on, without the start of Ray, Python and the model. All results must have
the same bytes. At last a run of two workers is killed (SIGKILL) halfway and started again: no
image may be missing or be there twice.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import skimage.data
from machine import processor
from PIL import Image

SHARDS = 20


def write(folder: Path, count: int, side: int) -> None:
    """Write crops of a photograph, no two alike in order."""
    photo = Image.fromarray(skimage.data.chelsea())
    for number in range(count):
        left, top = 13 * number % 350, 29 * number % 200
        crop = photo.crop((left, top, left + 96, top + 96)).resize((side, side))
        file = folder / f"{number // 1000:03d}" / f"{number:06d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        crop.save(file)


def started(*words: object) -> subprocess.Popen[bytes]:
    """Start a command of srkit."""
    line = [sys.executable, "-m", "srkit", *map(str, words), "--device", "cpu"]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command that must succeed."""
    if process.wait():
        raise RuntimeError(f"{process.args} ended with {process.returncode}")


def by_ray(source: Path, out: Path, workers: int, size: int) -> dict[str, float]:
    """Upscale by Ray; return how long it took, and how fast it was."""
    begun = time.perf_counter()
    ended(started("upscale-dataset", source, out, "--workers", workers, "--shard-size", size))
    seconds = time.perf_counter() - begun
    lines = [json.loads(f.read_text().splitlines()[-1]) for f in sorted(out.glob("*.jsonl"))]
    times = sorted((f.stat().st_mtime, line["images"]) for f, line in _manifests(out, lines))
    done = sum(images for _, images in times[1:])
    return {"seconds": seconds, "images_per_second": done / (times[-1][0] - times[0][0])}


def _manifests(out: Path, lines: list[Any]) -> list[tuple[Path, Any]]:
    return list(zip(sorted(out.glob("*.jsonl")), lines, strict=True))


def by_processes(source: Path, out: Path, count: int) -> dict[str, float]:
    """Upscale by ``--shard``; return how long it took, and how fast it was."""
    begun = time.perf_counter()
    shards = [f"{number + 1}/{count}" for number in range(count)]
    processes = [started("upscale", source, "-o", out, "--shard", shard) for shard in shards]
    for process in processes:
        ended(process)
    seconds = time.perf_counter() - begun
    ledgers = (out / ".srkit-upscale").glob("*.jsonl")
    rows = [json.loads(line) for file in ledgers for line in file.read_text().splitlines()]
    times = sorted(row["written"] / 1e9 for row in rows)
    return {"seconds": seconds, "images_per_second": (len(times) - 1) / (times[-1] - times[0])}


def contents(out: Path) -> Counter[tuple[str, str]]:
    """Return names and SHA-256 of all images, in archives or as files."""
    result: Counter[tuple[str, str]] = Counter()
    for file in out.rglob("*.png"):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        result[file.relative_to(out).as_posix(), digest] += 1
    for file in out.glob("*.tar"):
        with tarfile.open(file) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                result[member.name, hashlib.sha256(content.read()).hexdigest()] += 1
    return result


def killed(source: Path, out: Path, size: int, expected: Counter[tuple[str, str]]) -> Any:
    """Kill a run of two workers halfway and start it again; return what was lost."""
    begun = time.perf_counter()
    words = ("upscale-dataset", source, out, "--workers", 2, "--shard-size", size)
    process = started(*words)
    while len(list(out.glob("*.jsonl"))) < SHARDS // 2:
        if process.poll() is not None:
            raise RuntimeError("it ended before it was killed")
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in out.glob("*.jsonl")}
    ended(started(*words))
    result = contents(out)
    return {
        "shards_before": len(before),
        "shards_done_again": sum(f.stat().st_mtime_ns != t for f, t in before.items()),
        "images_lost": len(expected.keys() - result.keys()),
        "images_twice": sum(count > 1 for count in result.values()),
        "same_bytes": result == expected,
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=16, help="side in pixels")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--ways", nargs="+", default=["ray", "shard"], choices=["ray", "shard"])
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray gives a worker
    # Not a whole number of torch's batches, one of which would be a single image.
    size = -(-options.images // SHARDS)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        write(source, options.images, options.size)
        rows: dict[str, dict[str, Any]] = {way: {} for way in options.ways}
        expected: Counter[tuple[str, str]] = Counter()
        same = True
        for count in options.counts:
            for way in rows:
                out = Path(folder, f"{way}-{count}")
                if way == "ray":
                    rows[way][str(count)] = by_ray(source, out, count, size)
                else:
                    rows[way][str(count)] = by_processes(source, out, count)
                found = contents(out)
                expected = expected or found
                same = same and found == expected
                print(way, count, rows[way][str(count)], flush=True)
        kill = killed(source, Path(folder, "killed"), size, expected)
    result = {
        **processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "command": " ".join(["python", *sys.argv]),
        "note": options.note,
        "model": "faces",
        "images": options.images,
        "side": options.size,
        "shard_size": size,
        "processes": rows,
        "same_bytes": same,
        "kill": kill,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
