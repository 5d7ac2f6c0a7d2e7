"""`srkit ui` under load: images that are lost or mixed up, waiting times, and memory.

    python benchmarks/ui_load.py [--clients 10] [--images 20] [--more 500]

Clients send images at once, each other ones, and compare what they get with what `srkit upscale`
writes. Then one client sends many, while the server's memory is read. Images are squares of the
astronaut's photograph (NASA, public domain), 24 to 63 pixels a side.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import skimage.data
from machine import processor
from PIL import Image

from srkit.cli import main as srkit

RESULT = Path(__file__).parent / "results" / "ui_load.json"
SIDES = range(24, 64)


def image(number: int) -> bytes:
    """Return a square of the photograph as PNG; each number's is another."""
    photo, side = Image.fromarray(skimage.data.astronaut()), SIDES[number % len(SIDES)]
    left, top = 7 * number % (512 - 128), 5 * number % (512 - 128)
    stream = io.BytesIO()
    photo.resize((side, side), box=(left, top, left + 128, top + 128)).save(stream, "PNG")
    return stream.getvalue()


def upscaled(client: httpx.Client, name: str, content: bytes) -> bytes:
    """Return what the server makes of an image; it is removed there."""
    sent = client.post("/srkit/images", params={"name": name}, content=content).json()
    lines = client.post(f"/srkit/images/{sent['id']}/upscale", json={}).text.splitlines()
    result = json.loads(lines[-1])["result"]
    file = client.get(f"/srkit/images/{result['id']}/file").content
    for each in (sent, result):
        client.delete(f"/srkit/images/{each['id']}")
    return file


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("clients", 10), ("images", 20), ("more", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    command = [sys.executable, "-m", "srkit", "ui", "--port", "0"]
    with tempfile.TemporaryDirectory() as folder:
        inputs = {f"{n}.png": image(n) for n in range(options.clients * options.images)}
        (Path(folder) / "in").mkdir()
        for name, content in inputs.items():
            (Path(folder) / "in" / name).write_bytes(content)
        # Neighbours differ in size, so that each is computed alone, as a client's images are.
        with contextlib.redirect_stdout(io.StringIO()):
            assert srkit(["upscale", f"{folder}/in", "-o", f"{folder}/out"]) == 0
        wanted = {name: (Path(folder) / "out" / name).read_bytes() for name in inputs}
        assert len(set(wanted.values())) == len(wanted)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert server.stdout is not None
        url = server.stdout.readline().split()[2]
        try:
            row = measured(url, inputs, wanted, options, psutil.Process(server.pid))
        finally:
            server.terminate()
            server.wait()
    RESULT.write_text(json.dumps({**row, **processor()}, indent=1) + "\n")
    print(json.dumps(row, indent=1))


def measured(
    url: str,
    inputs: dict[str, bytes],
    wanted: dict[str, bytes],
    options: argparse.Namespace,
    process: psutil.Process,
) -> dict[str, object]:
    """Return what is published."""

    def client(number: int) -> tuple[int, list[float]]:
        right, seconds = 0, []
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as http:
            for name in list(inputs)[number :: options.clients]:
                start = time.perf_counter()
                right += upscaled(http, name, inputs[name]) == wanted[name]
                seconds.append(time.perf_counter() - start)
        return right, seconds

    def memory() -> float:
        return round(process.memory_info().rss / 2**20, 1)

    client(0)  # warm
    start = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as threads:
        answers = list(threads.map(client, range(options.clients)))
    total = time.perf_counter() - start
    times = sorted(each for _, seconds in answers for each in seconds)
    used, right = [memory()], 0
    with httpx.Client(base_url=url, timeout=600, trust_env=False) as http:
        for number in range(options.more):
            name = f"{number % len(inputs)}.png"
            right += upscaled(http, name, inputs[name]) == wanted[name]
            if (number + 1) % 50 == 0:
                used.append(memory())
    return {
        "clients": options.clients,
        "images": len(times),
        "equal": sum(right for right, _ in answers),
        "seconds": round(total, 2),
        "median_seconds": round(statistics.median(times), 3),
        "longest_seconds": round(times[-1], 3),
        "more": options.more,
        "more_equal": right,
        "megabytes": used,
    }


if __name__ == "__main__":
    main()
