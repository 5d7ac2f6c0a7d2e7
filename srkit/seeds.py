"""Noise that a seed decides: the same numbers whatever the batch, the order or the device.

torch's generators draw a batch from one stream, so an image's noise would depend on its
neighbours. Here each value is a hash of (seed, position), computed with integer tensor
arithmetic, so it is batched, stays on the device, and needs no state to resume.

The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), applied twice.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift right logically (torch's ``>>`` keeps the sign of int64)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


@functools.lru_cache
def _mixed(key: int) -> int:
    """Return the hash of a whole number: no tensor has to go to the device for it."""
    return int(_mix(torch.tensor(key, device="cpu") * _GOLDEN))


def derive(seeds: Tensor, *keys: int | Tensor) -> Tensor:
    """Return new int64 seeds from seeds and keys (an epoch, an image's index, a purpose).

    Keys are whole numbers, or int64 tensors that broadcast with ``seeds``, which has any shape.
    """
    for key in keys:
        if isinstance(key, Tensor):
            seeds = _mix(seeds + _GOLDEN + _mix(key.to(seeds.device) * _GOLDEN))
        else:
            seeds = _mix(seeds + _GOLDEN + _mixed(key))
    return seeds


def of_images(images: Tensor, seed: int) -> Tensor:
    """Return a seed for each image, int64, shape ``B``, from ``seed`` and its own pixels.

    Neither other images, nor their order, nor a file's name change what an image becomes. Of
    ``images``, ``B3HW`` in [0, 1], the 8-bit values count.
    """
    pixels = images.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    arrays = pixels.contiguous().cpu().numpy()
    salt = f"{seed} {arrays.shape[1:]} ".encode()
    digests = (hashlib.sha256(salt + array.tobytes()).digest() for array in arrays)
    values = [int.from_bytes(digest[:8], "little") >> 2 for digest in digests]
    return torch.tensor(values, dtype=torch.int64, device=images.device)


def uniform(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Return uniform noise in (0, 1), float32, shape ``(B, *shape)``, on the device of ``seeds``.

    ``seeds`` are int64, shape ``B``; different streams of one seed are independent.
    """
    count = math.prod(shape)
    counter = torch.arange(count, device=seeds.device, dtype=torch.int64)
    keys = derive(seeds, stream)
    bits = _mix(_mix(keys[:, None] + counter[None] * _GOLDEN))
    # 24 bits fill a float32's mantissa; the half keeps 0 out, for the logarithm below, and the
    # clamp 1, to which the largest value would round.
    noise = (_shift(bits, 40).float() + 0.5) / (1 << 24)
    return noise.clamp(max=1 - 2**-24).view(-1, *shape)


def normal(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Return standard normal noise by Box and Muller's transform; see `uniform`."""
    radius = torch.sqrt(-2 * torch.log(uniform(seeds, shape, 2 * stream)))
    return radius * torch.cos(2 * math.pi * uniform(seeds, shape, 2 * stream + 1))
