"""The device a network runs on, and memory: kept between steps, recognised when it runs out."""

from __future__ import annotations

import contextlib
import ctypes
import gc

import torch

from srkit.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
LARGE = 1 << 28  # bytes: blocks of whole images, not of a tile's feature maps


def device_named(name: str) -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    From then on float32 is float32 there: by default cuDNN computes in TF32, with 10 bits.

    Raises:
        InputError: There is no such device here.
    """
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"no device '{name}' here: {str(error).splitlines()[0]}") from error
    return device


def keep_memory(*, large: bool = True) -> None:
    """Let glibc keep what is freed, for the rest of this process.

    A network asks for the same large blocks again and again. By default each is given back to the
    system and comes back as new pages, to be filled with zeros one fault at a time: up to a
    quarter of a training step on a CPU. Elsewhere than on glibc nothing happens.

    Args:
        large: Keep blocks of 256 MiB and more, too. Not where a large image should not stay in
            memory after it has been written.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        if large:
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
        else:
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def release(device: torch.device) -> None:
    """Give back what a failed attempt has left on a device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
