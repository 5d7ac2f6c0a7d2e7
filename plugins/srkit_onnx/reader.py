"""An ONNX file -> a generator, by its metadata or by a probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from srkit import InputError
from srkit_onnx.generator import OnnxGenerator

OURS = "srkit."  # before the keys that `srkit export` writes
PROBE = (48, 64)  # height and width: multiples of 16, which some networks want
GREY = 0.5
KEPT = 0.25  # how far from GREY a grey image's mean may come out


def read(file: Path) -> OnnxGenerator | None:
    """Read an ONNX file of a network that upscales images.

    A file of ``srkit export`` has metadata with scale, licence and receptive radius. The scale of
    a foreign file is measured by running it once on a grey image. It has to map one float image,
    RGB in [0, 1], ``B3hw`` with free height and width, to another.

    Args:
        file: A file of any kind; None is returned for what doesn't end in ``.onnx``.

    Raises:
        InputError: Damaged, or a network that doesn't do that; the message says what it does.
    """
    if file.suffix.lower() != ".onnx":
        return None
    generator = OnnxGenerator(file)
    _require_image(file, generator.session.now)
    meta = generator.session.now.get_modelmeta()
    metadata = dict(meta.custom_metadata_map)
    ours = {key.removeprefix(OURS): metadata[key] for key in metadata if key.startswith(OURS)}
    if "scale" in ours:
        generator.scale = _number(file, "scale", ours["scale"])
        radius = ours.get("receptive_radius", "")
        if radius:
            generator.receptive_radius = _number(file, "receptive_radius", radius)
        generator.licence = ours.get("licence", "unknown")
        generator.recipe = ours.pop("recipe", "")
        generator.metadata = {"exported": ours}
    else:
        generator.scale = _probed(file, generator)
        generator.licence = metadata.get("license", "unknown")
        generator.metadata = {"producer": meta.producer_name or "unknown"}
    return generator


def _number(file: Path, key: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 5):
        raise InputError(f"{file}: {OURS}{key} can't be {text!r:.60}; export it again")
    return int(text)


def _require_image(file: Path, session: Any) -> None:
    """See that a session takes images of any size, and nothing else."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise InputError(f"{file}: wants {len(inputs)} inputs ({names}); srkit gives one, RGB")
    (tensor,) = inputs
    if tensor.type not in ("tensor(float)", "tensor(float16)"):
        raise InputError(f"{file}: wants {tensor.type}; srkit gives float images in [0, 1]")
    shape = list(tensor.shape)
    if len(shape) != 4 or (shape[1] != 3 and (isinstance(shape[1], int) or shape[3] == 3)):
        raise InputError(f"{file}: wants an input of shape {shape}; srkit gives RGB as B3hw")
    if any(isinstance(side, int) for side in shape[2:]):
        raise InputError(
            f"{file}: takes images of {shape[2]}x{shape[3]} (height x width) alone; "
            "export it again with free height and width"
        )


def _probed(file: Path, generator: OnnxGenerator) -> int:
    """Run a foreign network on a grey image, and return its scale."""
    height, width = PROBE
    try:
        sr = generator(torch.full((1, 3, height, width), GREY))
    except InputError as error:
        raise InputError(f"{error} (tried, since the file doesn't say its scale)") from error
    shape = tuple(sr.shape)
    scale = int(shape[-1]) // width
    if shape != (1, 3, height * scale, width * scale) or scale < 2:
        raise InputError(
            f"{file}: gives {shape} for (1, 3, {height}, {width}); "
            "srkit wants a whole number of times as many pixels each way"
        )
    if not abs(float(sr.mean()) - GREY) <= KEPT:
        raise InputError(
            f"{file}: makes {float(sr.mean()):.3g} of a grey of {GREY}; srkit wants networks "
            "that map RGB in [0, 1] to RGB in [0, 1]"
        )
    return scale
