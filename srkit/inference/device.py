"""The device a network runs on, and memory: kept between steps, recognised when it runs out."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import gc
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit import torchrun
from srkit.errors import InputError
from srkit.readahead import cpus

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # of malloc.h
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
LARGE = 1 << 28  # bytes: blocks of whole images, not of a tile's feature maps


def device_named(name: str) -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Of processes that ``torchrun`` started, ``auto`` gives each a CUDA device. From then on float32
    is float32 there: by default cuDNN computes in TF32, with 10 bits.

    Raises:
        InputError: There is no such device here.
    """
    import torch

    name = str(name)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        if count := torch.cuda.is_available() and torch.cuda.device_count():
            own = torchrun.number("LOCAL_RANK", 0) % count
            return torch.device(f"cuda:{own}" if "LOCAL_RANK" in os.environ else "cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"no device '{name}' here: {str(error).splitlines()[0]}") from error
    return device


def may_have_gpu() -> bool:
    """Return whether torch, which takes seconds to import, has to be asked for a GPU."""
    if sys.platform == "linux":
        return any(Path("/dev", name).exists() for name in ("nvidiactl", "kfd", "dxg"))
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return ctypes.util.find_library("nvcuda") is not None


def cpu_flags() -> frozenset[str]:
    """Return what the processor can: by torch if it is imported, else by Linux, else nothing."""
    if capabilities := getattr(getattr(_torch(), "cpu", None), "get_capabilities", None):
        return frozenset(name for name, value in capabilities().items() if value is True)
    with contextlib.suppress(OSError):  # only Linux has this file
        return frozenset(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    return frozenset()


@cache
def has_bf16() -> bool:
    """Return whether this CPU multiplies in bfloat16, by AVX-512 or AMX.

    Not asked of ARM and Apple, where it hasn't been measured.
    """
    return not cpu_flags().isdisjoint(BF16_FLAGS)


def threads() -> int:
    """Return how many threads compute: as many as torch uses, or would use."""
    if torch := _torch():
        return int(torch.get_num_threads())
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdecimal() and int(stated):
        return int(stated)
    import psutil

    return min(psutil.cpu_count(logical=False) or 1, cpus())


def _torch() -> Any:
    torch = sys.modules.get("torch")  # half of it, while another thread imports it
    return None if getattr(getattr(torch, "__spec__", None), "_initializing", False) else torch


def is_tensor(value: object) -> bool:
    """Return whether a value is one of torch's tensors, without importing torch."""
    torch = _torch()
    return torch is not None and isinstance(value, torch.Tensor)


def keep_memory(*, large: bool = True) -> None:
    """Let glibc keep what is freed, for the rest of this process; elsewhere nothing happens.

    A network asks for the same large blocks again and again. By default each is given back to the
    system and comes back as new pages, to be filled with zeros one fault at a time: up to a
    quarter of a training step on a CPU. ``large``: blocks of 256 MiB and more are kept, too; not
    where a large image should not stay in memory after it has been written.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        if large:
            libc.mallopt(M_MMAP_MAX, 0)
            libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
        else:
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
            libc.mallopt(M_ARENA_MAX, 1)  # the network uses what a thread that reads has freed


def release(device: str) -> None:
    """Give back what a failed attempt has left on a device."""
    gc.collect()
    if device.startswith("cuda"):
        _torch().cuda.empty_cache()
    elif device == "mps":
        _torch().mps.empty_cache()
