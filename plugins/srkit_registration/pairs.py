"""Whether lr and hr of real pairs show the same, pixel on pixel: looked at before training.

A sample of the pairs is compared at lr's size, in grey. Of a pair of the same scene both agree
when small and band-passed, whatever blur, noise, JPEG or exposure lies between them. A shift is the
peak of their phase correlation; added up over all pairs it is sure where blur hides it in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srkit import InputError
from srkit.errors import first_of
from srkit.imaging import codec
from srkit.readahead import read_ahead

SAMPLE = 200  # pairs
MOST = 20  # of them are named
LEAST_SIDE = 32  # pixels of lr; smaller ones hold too little to tell
LEAST_CONTRAST = 3.0  # of 255, band-passed; flat images say nothing
SIDE = 32  # of the small copies
ALIKE = 0.5  # correlation of small copies; of different scenes few reach it
CLOSER = 0.15  # by so much another pair's hr must be more like lr than its own
CROP = 256  # pixels of lr in which a shift is looked for
FARTHEST = 8  # pixels of a shift
SURE, SURE_OF_ALL = 1.5, 1.1  # how many times as high as no shift's a shift's peak must be

Grey: TypeAlias = NDArray[np.floating[Any]]


class _Compared(NamedTuple):
    """Small copies of hr and lr, unit vectors, and their correlation for shifts up to FARTHEST."""

    name: str
    hr: Grey
    lr: Grey
    shifts: Grey


def misregistered(pairs: Sequence[tuple[Path, Path]], scale: int) -> list[str]:
    """Return lines that name pairs of different scenes, and those whose lr is shifted."""
    count = min(SAMPLE, len(pairs))
    sample = [pairs[number * len(pairs) // count] for number in range(count)]
    compared = [c for c in read_ahead(lambda pair: _compared(*pair, scale), sample) if c]
    if not compared:
        return []
    down, across = _shift(np.mean([c.shifts for c in compared], axis=0), SURE_OF_ALL)
    if down or across:
        return [f"lr lies {across:+d} px across and {down:+d} px down of hr, over all pairs"]
    likeness = np.stack([c.lr for c in compared]) @ np.stack([c.hr for c in compared]).T
    own = likeness.diagonal()
    other = (own < ALIKE) | (likeness.max(axis=1) > own + CLOSER)
    moved = [_shift(c.shifts, SURE) != (0, 0) for c in compared]
    wrong = {
        "pairs whose lr and hr seem to show different scenes": other,
        "pairs whose lr seems shifted by a pixel or more": np.array(moved) & ~other,
    }
    lines = []
    for what, which in wrong.items():
        if names := [c.name for c, bad in zip(compared, which, strict=True) if bad]:
            lines.append(
                f"{what}: {len(names)} of {len(compared)} compared ({first_of(names, MOST)})"
            )
    return lines


def _shift(correlation: Grey, sure: float) -> tuple[int, int]:
    """Return a shift, down and across; none where its peak isn't ``sure`` times that of none."""
    if correlation.max() < sure * max(correlation[FARTHEST, FARTHEST], 0):
        return 0, 0
    down, across = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return int(down) - FARTHEST, int(across) - FARTHEST


def _compared(lr_file: Path, hr_file: Path, scale: int) -> _Compared | None:
    """Compare a pair; one that is broken, small or flat isn't: decoding says what is broken."""
    try:
        lr, hr = (codec.read(file).rgb.convert("L") for file in (lr_file, hr_file))
    except InputError:
        return None
    if hr.size != (lr.width * scale, lr.height * scale) or min(lr.size) < LEAST_SIDE:
        return None
    hr = hr.resize(lr.size, Image.Resampling.BOX)
    small = [_small(image) for image in (hr, lr)]
    if min(np.linalg.norm(copy) for copy in small) < LEAST_CONTRAST * SIDE:
        return None
    large, little = (copy.ravel() / np.linalg.norm(copy) for copy in small)
    return _Compared(str(hr_file), large, little, _correlation(hr, lr))


def _small(image: Image.Image) -> Grey:
    """Return a small copy without its finest and its coarsest parts."""
    grey = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    radius = _radius(SIDE, SIDE)
    band = np.exp(-2 * (np.pi * radius) ** 2) - np.exp(-2 * (4 * np.pi * radius) ** 2)
    filtered = np.fft.irfft2(np.fft.rfft2(grey) * band, s=grey.shape) * _window(SIDE, SIDE)
    small: Grey = (filtered - filtered.mean()).astype(np.float32)
    return small


def _correlation(hr: Image.Image, lr: Image.Image) -> Grey:
    """Return the phase correlation of two images of one size, for shifts up to `FARTHEST`."""
    left, top = (max(0, side - CROP) // 2 for side in lr.size)
    box = (left, top, min(lr.width, left + CROP), min(lr.height, top + CROP))
    a, b = (np.asarray(image.crop(box), dtype=np.float32) for image in (hr, lr))
    window = _window(*a.shape)
    spectra = [np.fft.rfft2((image - image.mean()) * window) for image in (a, b)]
    product = spectra[1] * spectra[0].conj()
    magnitude = np.abs(product)
    low = np.exp(-((_radius(*a.shape) / 0.15) ** 2) / 2)  # where blur and noise leave most
    phases = product / (magnitude + 1e-3 * magnitude.max() + 1e-9) * low
    peak = np.fft.irfft2(low.astype(complex), s=a.shape).max()
    whole = np.roll(np.fft.irfft2(phases, s=a.shape) / peak, (FARTHEST, FARTHEST), (0, 1))
    near: Grey = whole[: 2 * FARTHEST + 1, : 2 * FARTHEST + 1].astype(np.float32)
    return near


def _radius(height: int, width: int) -> Grey:
    """Return the frequencies of a real FFT, in cycles a pixel."""
    radius: Grey = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return radius


def _window(height: int, width: int) -> Grey:
    window: Grey = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    return window
