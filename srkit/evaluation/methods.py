"""What a bench compares: interpolations, models, and images that other programs upscaled.

Any program becomes a method: the bench writes every LR image that it would upscale into a folder,
the program upscales the folder, and the bench reads the results. Names are hashes of the images'
pixels, so that a result can't be taken for another's.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

from srkit import registry
from srkit.defaults import INTERPOLATIONS
from srkit.errors import InputError
from srkit.evaluation.protocol import Protocol, encoded
from srkit.files import lock, sha256, write_text
from srkit.imaging import codec
from srkit.inference.model import Model, Settings

NEAREST, BICUBIC, LANCZOS = INTERPOLATIONS
# What every table has, whatever else it compares: registered generators without weights.
REFERENCES = INTERPOLATIONS
LR, HR = "LR", "HR"  # further methods of identity tables


@dataclass(frozen=True)
class Method:
    """Something that makes sr of lr.

    Attributes:
        name: Its name in tables.
        upscale: lr, ``B3hw``, to sr, ``B3HW``, in [0, 1].
        sha256: SHA-256 of its weights; None where it has none.
        licence: Licence of the weights.
        metadata: Its provider, for example.
        timed: Whether the time that ``upscale`` takes says anything: that of reading images which
            were upscaled elsewhere doesn't.
    """

    name: str
    upscale: Callable[[Tensor], Tensor] = field(compare=False)
    sha256: str | None = None
    licence: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)
    timed: bool = True

    def __call__(self, lr: Tensor, shape: torch.Size | None = None) -> Tensor:
        """Return sr of lr, ``B3hw`` in [0, 1], as a file would hold it: clamped, of 8 bits.

        Raises:
            InputError: It can't upscale images of this size, as a network with windows may, or
                sr has another than this ``shape``.
        """
        size = f"{lr.shape[-1]}x{lr.shape[-2]}"
        try:
            sr = self.upscale(lr)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"'{self.name}' can't upscale images of {size}: {error}") from error
        if shape is not None and sr.shape != shape:
            raise InputError(
                f"'{self.name}' makes {sr.shape[-1]}x{sr.shape[-2]} pixels of {size}, "
                f"not {shape[-1]}x{shape[-2]}"
            )
        return codec.to_uint8(sr).float() / 255


def references(scale: int, *, by_pillow: bool = False) -> list[Method]:
    """Return nearest neighbour, bicubic and Lanczos interpolation.

    With ``by_pillow`` Pillow computes the latter two, in 8 bits.
    """
    result = []
    for name in REFERENCES:
        if by_pillow and name in _PILLOW:
            upscale = partial(_by_pillow, scale=scale, kernel=_PILLOW[name])
            provider = f"Pillow {PIL.__version__}"
        else:
            upscale = registry.build_scaled("generators", name, scale, {})
            provider = registry.provenance("generators", name)
        result.append(Method(name, upscale, metadata={"provider": provider}))
    return result


_PILLOW = {BICUBIC: Image.Resampling.BICUBIC, LANCZOS: Image.Resampling.LANCZOS}


def _by_pillow(lr: Tensor, *, scale: int, kernel: Image.Resampling) -> Tensor:
    size = (lr.shape[-1] * scale, lr.shape[-2] * scale)
    resized = [codec.to_image(image).resize(size, kernel) for image in lr]
    return torch.cat([codec.to_tensor(image) for image in resized]).to(lr.device)


def methods(models: Sequence[Model | Method], protocol: Protocol) -> list[Method]:
    """Return the methods of a table: the references, then models; no reference twice.

    Raises:
        InputError: A model has another scale than the protocol, or another's name.
    """
    scale = protocol.scale
    all_methods = references(scale, by_pillow=protocol.references == "pillow")
    for model in models:
        if isinstance(model, Model):
            if model.name in REFERENCES and model.sha256 is None:
                continue  # the same method
            if model.scale != scale:
                raise InputError(
                    f"model '{model.name}' upscales by {model.scale}, the protocol by {scale}"
                )
            engine = {"engine": str(model.choice)} if model.choice else {}
            metadata = {**model.metadata, **engine, **_run(model)}
            upscale = partial(_upscale, model)
            model = Method(model.name, upscale, model.sha256, model.licence, metadata)
        if model.name in (LR, HR, *(method.name for method in all_methods)):
            raise InputError(
                f"two methods would be called '{model.name}'; rename one, or give its path"
            )
        all_methods.append(model)
    return all_methods


def _upscale(model: Model, lr: Tensor) -> Tensor:
    """Upscale in the model's own precision: as 8-bit images, which it measures."""
    sr = model.upscale_values(lr.float().cpu().numpy(), Settings(), half=True)
    return torch.from_numpy(sr).to(lr)


def _run(model: Model) -> dict[str, Any]:
    """Return recipe and seed of a trained model, and a hash of the recipe but for its seed."""
    if not model.recipe:
        return {}
    rest = model.recipe.changed({"seed": 0}).to_toml().encode()
    digest = hashlib.sha256(rest).hexdigest()
    return {"recipe": model.recipe.name, "recipe_sha256": digest, "seed": model.recipe.seed}


def lr_key(lr: np.ndarray) -> str:
    """Return the name of an LR image, uint8, ``hw3``: 32 hexadecimal digits."""
    shape = f"{lr.shape[1]}x{lr.shape[0]} ".encode()
    return hashlib.sha256(shape + np.ascontiguousarray(lr).tobytes()).hexdigest()[:32]


def write_lr(images: Iterable[tuple[object, np.ndarray]], folder: Path) -> int:
    """Write LR images (photo, uint8 ``hw3``) as ``KEY.png``; return the number of different ones.

    Those that are there already are left alone. Beside the folder, where it is in no program's way,
    ``FOLDER-photos.csv`` lists the photos.

    Raises:
        InputError: The folder can't be written.
    """
    rows: dict[tuple[str, str], None] = {}  # a face may be degraded twice
    with lock(folder):
        for photo, image in images:
            file = folder / f"{lr_key(image)}.png"
            name = os.fsencode(str(photo)).decode("utf-8", "backslashreplace")
            rows[file.name, name] = None
            if not file.is_file():
                codec.write(Image.fromarray(image), file)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("file", "photo"), *rows])
        whole = folder.absolute()
        write_text(whole.with_name(f"{whole.name}-photos.csv"), text.getvalue())
    return len({file for file, _ in rows})


def from_results(name: str, folder: Path, scale: int) -> Method:
    """Return the method of another program, whose results are ``KEY.png`` in a folder.

    Its sha256 is that of all files' names and bytes.

    Raises:
        InputError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"results of '{name}': {folder}: no such folder")
    files = sorted(folder.glob("*.png"))
    if not files:
        raise InputError(f"results of '{name}': {folder} holds no .png")
    hashed = hashlib.sha256()
    for file in files:
        hashed.update(encoded(file.name) + bytes.fromhex(sha256(file)))

    def result(lr: np.ndarray) -> Tensor:
        file = folder / f"{lr_key(lr)}.png"
        if not file.is_file():
            raise InputError(
                f"results of '{name}': {file} is missing; upscale all that "
                "`srkit bench --write-lr` writes under this protocol, and keep their names"
            )
        image = codec.read(file).rgb
        width, height = lr.shape[1] * scale, lr.shape[0] * scale
        if image.size != (width, height):
            raise InputError(
                f"results of '{name}': {file} has {image.width}x{image.height} pixels, "
                f"not {width}x{height}"
            )
        return codec.to_tensor(image)

    def upscale(lr: Tensor) -> Tensor:
        pixels = codec.to_uint8(lr).permute(0, 2, 3, 1).cpu().numpy()
        return torch.cat([result(image) for image in pixels]).to(lr.device)

    metadata = {"images": len(files)}
    return Method(name, upscale, hashed.hexdigest(), metadata=metadata, timed=False)
