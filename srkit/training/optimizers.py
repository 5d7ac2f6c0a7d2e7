"""Optimisers and the schedule of their learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from srkit.recipe import Optimizer


def optimizer_for(module: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Return the optimiser of one network."""
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(
        module.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def learning_rate(settings: Optimizer, step: int, steps: int) -> float:
    """Return the learning rate of step ``step``, counted from 0, of ``steps``."""
    rate = settings.learning_rate
    if settings.schedule == "step":
        rate *= settings.gamma ** (step // settings.step_size)
    elif settings.schedule == "cosine":
        half = 0.5 * (1 + math.cos(math.pi * step / steps))
        rate *= settings.min_lr_ratio + (1 - settings.min_lr_ratio) * half
    return rate * min(1.0, (step + 1) / (settings.warmup + 1))
