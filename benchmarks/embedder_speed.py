"""Time of FaceNet's embeddings as srkit computes them, against facenet-pytorch called plainly.

    python benchmarks/embedder_speed.py [--weights FILE] [--threads 1] [--json FILE]

64 smooth random images of 64x64, which is what `srkit bench` embeds. Both start with the same
resize to 160x160 and the same weights (random unless a file is given: the time is the same), take
turns in one process, and the ratio is of the times within one round: seconds of computing (of all
threads together), since others may be at work on the machine. The largest difference between the
two's embeddings is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file
from srkit_facenet.embedder import SIDE, FaceNet
from torch import Tensor
from torch.nn.functional import interpolate


def random_weights(folder: Path) -> Path:
    """Write a network's initial weights, its batch normalisation moved off the identity."""
    torch.manual_seed(0)
    state = InceptionResnetV1(pretrained=None).state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    file = folder / "random.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, file)
    return file


def plain(ours: FaceNet) -> Callable[[Tensor], Tensor]:
    """Return facenet-pytorch's network with the same weights, called with the whole batch."""
    network = InceptionResnetV1(pretrained=None).eval()
    network.load_state_dict(ours.network.state_dict())

    def embed(faces: Tensor) -> Tensor:
        faces = interpolate(faces, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        embedding: Tensor = network((faces * 255 - 127.5) / 128)
        return embedding

    return embed


@torch.inference_mode()
def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--faces", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        ours = FaceNet(weights=str(given.weights or random_weights(Path(folder))))
    theirs = plain(ours)
    torch.manual_seed(0)
    faces = interpolate(torch.rand(given.faces, 3, 9, 9), size=(64, 64), mode="bicubic").clamp(0, 1)
    difference = float((ours(faces) - theirs(faces)).abs().max())  # warms both up
    seconds: dict[str, list[float]] = {"plain": [], "srkit": []}
    for _ in range(given.rounds):
        for name, embed in (("plain", theirs), ("srkit", ours)):
            began = time.process_time()
            embed(faces)
            seconds[name].append(time.process_time() - began)
    ratios = [p / s for p, s in zip(seconds["plain"], seconds["srkit"], strict=True)]
    result = {
        "faces": given.faces,
        "threads": given.threads,
        "rounds": given.rounds,
        "seconds": {name: statistics.median(its) for name, its in seconds.items()},
        "plain_over_srkit": {
            "median": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        },
        "largest_difference": difference,
        "weights": ours.name,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    print(json.dumps(result, indent=1))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
