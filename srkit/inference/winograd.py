"""Convolutions with fewer multiplications, for one thread of a CPU.

A 3x3 convolution needs nine multiplications a value; by Winograd's minimal filtering (Lavin and
Gray, 2016; NNPACK's tiles of 8x8) a bit more than two. oneDNN's direct convolutions keep a core
busy to its limit, so that is what is left to gain: with 64 maps of 64x64 (AVX-512) a 3x3
convolution takes half the time, a 5x5 one 0.4 of it. NNPACK comes with torch; it scales badly over
threads, so each thread is given a tile or some pictures of its own instead.

Results differ from the direct ones by rounding: about 1e-5 of the range after twenty layers.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")
LEAST_MAPS = 32  # with fewer feature maps coming in, transforms cost what they spare
LEAST_PIXELS = 1024  # LR pixels of a call; kernels are transformed anew for each
# Above so many threads, sharing each convolution among all of them is faster, and takes less
# memory than a tile for each.
MOST_THREADS = 8
SAME = 1e-3  # a quarter of an 8-bit step; what differs more is another function


class Convolution(nn.Module):
    """A convolution by NNPACK, of contiguous tensors."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().contiguous(), requires_grad=False)
        self.bias = conv.bias
        self.padding = [side // 2 for side in conv.kernel_size]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(inputs)hw`` to ``B(outputs)hw``."""
        return torch._nnpack_spatial_convolution(x, self.weight, self.bias, self.padding)


class PixelShuffle(nn.Module):
    """`nn.PixelShuffle` as one copy: a quarter of the time of torch's own on contiguous tensors."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Map ``B(C f f)hw`` to ``BC(f h)(f w)``."""
        (batch, maps, height, width), f = x.shape, self.factor
        parts = x.view(batch, maps // f**2, f, f, height, width).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(batch, maps // f**2, f * height, f * width)


def quick(generator: nn.Module) -> nn.Module | None:
    """Return a copy whose convolutions are Winograd's; None where there is nothing to gain.

    Args:
        generator: In evaluation mode, on the CPU.
    """
    if not _available() or not any(_fits(module) for module in generator.modules()):
        return None
    result = copy.deepcopy(generator).to(memory_format=torch.contiguous_format)
    for name, module in list(result.named_modules()):
        parent, _, last = name.rpartition(".")
        if _fits(module):
            assert isinstance(module, nn.Conv2d)
            setattr(result.get_submodule(parent), last, Convolution(module))
        elif type(module) is nn.PixelShuffle:
            setattr(result.get_submodule(parent), last, PixelShuffle(module.upscale_factor))
    lr = torch.rand(1, 3, 19, 21, generator=torch.Generator().manual_seed(0))
    try:
        # In a thread of its own: NNPACK makes as many threads as its first caller has, and would
        # have all others wait for them.
        (sr,) = in_parallel(result, [lr], 1)
        with torch.inference_mode():
            same = torch.allclose(sr, generator(lr), rtol=0, atol=SAME)
    except RuntimeError:  # a network that looks into its convolutions
        return None
    return result if same else None


def is_for_small_pictures(network: nn.Module) -> bool:
    """Return whether all of a quick copy's large convolutions are Winograd's.

    Others, of 1x1 for example, are slower on contiguous tensors than on channels_last ones, which
    a picture of 16x16 does not make up for elsewhere.
    """
    return not any(
        isinstance(module, nn.Conv2d) and module.in_channels >= LEAST_MAPS
        for module in network.modules()
    )


def _available() -> bool:
    try:
        return bool(torch._nnpack_available())  # also prepares it for use
    except (AttributeError, RuntimeError):
        return False


def _fits(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv2d
        and module.kernel_size in ((3, 3), (5, 5))
        and module.padding == (module.kernel_size[0] // 2,) * 2
        and module.stride == module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and module.in_channels >= LEAST_MAPS
        and module.weight.dtype == torch.float32
    )


def workers() -> int:
    """Return how many threads are each to be given work of their own; 0 if too many."""
    count = torch.get_num_threads()
    return count if count <= MOST_THREADS else 0


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    # OpenMP keeps the number of threads by thread: the caller's stays what it is.
    return ThreadPoolExecutor(
        count, thread_name_prefix="srkit", initializer=torch.set_num_threads, initargs=(1,)
    )


def in_parallel(work: Callable[[T], Tensor], items: Iterable[T], count: int) -> Iterator[Tensor]:
    """Yield what ``work`` gives for each item, in order; ``count`` at a time, a thread for each.

    What is done ahead is at most ``count`` results, which bounds the memory.
    """

    def quietly(item: T) -> Tensor:
        with torch.inference_mode():  # which every thread has of its own
            return work(item)

    waiting: deque[Future[Tensor]] = deque()
    left = iter(items)
    try:
        for item in left:
            waiting.append(_pool(count).submit(quietly, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # after an error: nothing goes on behind the caller's back
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()
