"""srkit's own model on a folder of pictures, timed as the peers are; in srkit's environment.

python srkit_model.py LR SR --model faces --threads 2
"""

from __future__ import annotations

import argparse

import folder
import numpy as np
import torch

import srkit


def options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``."""
    parser.add_argument("--model", default="faces", help="what srkit.load takes")


def load(arguments: argparse.Namespace) -> folder.Program:
    """Return the model."""
    torch.set_num_threads(arguments.threads)
    model = srkit.load(arguments.model, device="cpu")

    def enlarge(lr: np.ndarray) -> np.ndarray:
        inputs = torch.from_numpy(lr.copy()).permute(2, 0, 1)[None].float() / 255
        return folder.eight_bits(model.upscale(inputs)[0].permute(1, 2, 0).numpy())

    return folder.Program(
        f"srkit {model.name}",
        enlarge,
        model.sha256 or "",
        model.licence,
        ("srkit", "torch", "numpy"),
        arguments.threads,
    )


if __name__ == "__main__":
    folder.main(__doc__, load, options)
