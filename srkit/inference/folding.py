"""Batch normalisation folded into the convolution before it, for inference."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import cast

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Pair = tuple[str, str]
# Folding reorders float32 arithmetic; anything beyond this is another function.
SAME = 1e-4


def folded(generator: nn.Module) -> nn.Module:
    """Return a copy with every ``BatchNorm2d`` that follows a ``Conv2d`` folded into it.

    Which follows which is read from the traced graph. A network that can't be traced is searched
    for `nn.Sequential` alone. The copy must agree with the original on random pictures.

    Args:
        generator: In evaluation mode.

    Returns:
        The generator itself where there is nothing to fold.
    """
    pairs = _traced(generator) if _has_norm(generator) else []
    if not pairs:
        return generator
    result = copy.deepcopy(generator)
    for conv, norm in pairs:
        fused = fuse_conv_bn_eval(
            cast(nn.Conv2d, result.get_submodule(conv)),
            cast(nn.BatchNorm2d, result.get_submodule(norm)),
        )
        _replace(result, conv, fused)
        _replace(result, norm, nn.Identity())
    return result if _agree(generator, result) else generator


def _has_norm(generator: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in generator.modules())


def _traced(generator: nn.Module) -> list[Pair]:
    try:
        graph = fx.Tracer().trace(generator)
    except Exception:  # whatever tracing trips over: control flow, shapes, foreign code
        return _in_sequence(generator)
    calls: dict[str, int] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls[str(node.target)] = calls.get(str(node.target), 0) + 1
    pairs = []
    for node in graph.nodes:
        given = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(given, fx.Node):
            continue
        if given.op != "call_module" or len(given.users) != 1:
            continue  # what else reads the convolution's output must go on reading it
        pair = (str(given.target), str(node.target))
        if _fits(generator, pair) and calls[pair[0]] == calls[pair[1]] == 1:
            pairs.append(pair)
    return pairs


def _in_sequence(generator: nn.Module) -> list[Pair]:
    pairs = []
    for name, module in generator.named_modules():
        if isinstance(module, nn.Sequential):
            names = [f"{name}.{child}".lstrip(".") for child, _ in module.named_children()]
            pairs += [pair for pair in pairwise(names) if _fits(generator, pair)]
    return pairs


def _fits(generator: nn.Module, pair: Pair) -> bool:
    conv, norm = (generator.get_submodule(name) for name in pair)
    return (
        type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d and norm.running_mean is not None
    )


def _replace(module: nn.Module, name: str, by: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, by)


@torch.no_grad()
def _agree(one: nn.Module, other: nn.Module) -> bool:
    lr = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    return bool(torch.allclose(one(lr), other(lr), atol=SAME, rtol=SAME))
