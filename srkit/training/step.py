"""One step of training: a batch through both networks, and both optimisers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from srkit.data.sampler import Batch
from srkit.hookspecs import DiscriminatorOutput
from srkit.training.distributed import Processes
from srkit.training.parts import Parts
from srkit.training.state import State


class Means(dict[str, Tensor]):
    """Scalars by name, each the mean over the parts of a batch."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def add(self, name: str, value: Tensor) -> None:
        """Take in the value of one part."""
        value = value.detach() / self.parts
        self[name] = self[name] + value if name in self else value


def step(state: State, parts: Parts, batch: Batch, *, norms: bool = False) -> dict[str, Tensor]:
    """Take one step.

    One pass serves both networks: sr = G(lr), and D sees hr and sr in two calls (together, they
    would mix batch statistics). With ``simultaneous`` updates both gradients are taken from that
    pass and only then do both optimisers step, as the paper words it (section III, P6).

    A batch with a loss or a gradient that isn't finite moves nothing; whether it is so never
    leaves the device. With ``alternating`` updates the discriminator has moved already where only
    the generator's part is bad. Nothing here waits for the device.

    ``batch`` is this process's share; the state's window counts it. With ``norms``, return each
    unweighted term's gradient norm at sr, over the whole batch.
    """
    recipe, processes = state.recipe, state.processes
    pieces = _pieces(batch, recipe.accumulate)
    before = [buffer.clone() for buffer in state.buffers()]
    for optimizer in state.optimizers.values():
        optimizer.zero_grad()
    means, squares = Means(len(pieces)), Means(1)
    skip = torch.zeros((), dtype=torch.bool, device=processes.device)
    moving = list(state.optimizers)
    upscaled: list[Tensor | None] = [None] * len(pieces)

    if recipe.adversarial and recipe.adversarial.updates == "alternating":
        upscaled = [_train_discriminator(parts, piece, processes, means) for piece in pieces]
        skip = _move(["optimizer_d"], state, means, skip)
        moving = ["optimizer_g"]
    both = len(moving) > 1
    for piece, sr in zip(pieces, upscaled, strict=True):
        loss, loss_d, gradients = _losses(parts, piece, sr, state, means, norms=norms)
        for name, gradient in gradients.items():
            squares.add(name, (gradient / (len(pieces) * processes.count)).square().sum())
        # Both gradients are taken before either network moves: stepping would change weights
        # that the other gradient's graph still holds.
        _backward(loss / len(pieces), parts.generator, processes, retain_graph=both)
        if both:
            _backward(loss_d / len(pieces), parts.discriminator, processes)

    # Statistics only now: until the last backward pass, a graph may hold them.
    statistics = [buffer for buffer in state.buffers() if buffer.is_floating_point()]
    skip = _move(moving, state, means, skip, statistics)
    for buffer, old in zip(state.buffers(), before, strict=True):
        buffer.copy_(torch.where(skip, old, buffer))
    state.step += 1
    state.update_ema()
    state.window.add(means, skip, state.step)
    processes.average(list(squares.values()))
    return {name: (square * processes.count).sqrt() for name, square in squares.items()}


def _train_discriminator(
    parts: Parts, piece: Batch, processes: Processes, means: Means
) -> Tensor | None:
    """Take D's gradient of one part of a batch; return sr with its graph where it is kept."""
    assert parts.objective is not None
    # A whole batch keeps its graph for the generator; of several parts, that would fill the memory.
    whole = means.parts == 1
    with contextlib.nullcontext() if whole else torch.no_grad():
        sr = parts.sr(lr_of(parts, piece))
    real, fake = parts.output(piece.hr), parts.output(sr.detach())
    loss = parts.objective.discriminator(real.logits, fake.logits)
    means.add("discriminator", loss)
    _backward(loss / means.parts, parts.discriminator, processes)
    return sr if whole else None


def _losses(
    parts: Parts, piece: Batch, sr: Tensor | None, state: State, means: Means, *, norms: bool
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the losses of G and of D on a part of a batch, and with ``norms`` gradients at sr.

    ``sr`` are the part's SR images, if they are there already; ``means`` takes in all losses and
    statistics.
    """
    lr, processes = lr_of(parts, piece), state.processes
    sr = parts.sr(lr) if sr is None else sr
    terms: dict[str, Tensor] = {}
    tensors: dict[str, Any] = {"sr": sr, "hr": piece.hr, "lr": lr}
    loss_d = sr.new_zeros(())
    if parts.discriminator is not None and parts.objective is not None:
        real, fake = parts.output(piece.hr), parts.output(sr)
        terms["adversarial"] = parts.objective.generator(real.logits.detach(), fake.logits)
        features = tuple(feature.detach() for feature in real.features)
        tensors |= {"real": DiscriminatorOutput(real.logits.detach(), features), "fake": fake}
        loss_d = parts.objective.discriminator(real.logits, fake.logits)
        if state.recipe.adversarial and state.recipe.adversarial.updates == "simultaneous":
            means.add("discriminator", loss_d)
        for name, value in _statistics(real.logits.detach(), fake.logits.detach()):
            means.add(name, value)
    terms |= {name: term(tensors) for name, term in parts.terms.items()}
    done = state.step / state.recipe.steps
    loss = torch.stack([parts.weight(name, done) * term for name, term in terms.items()]).sum()
    for name, value in (*terms.items(), ("loss", loss)):
        means.add(name, value)
    gradients = {k: _gradient_at(sr, v, processes) for k, v in terms.items()} if norms else {}
    return loss, loss_d, gradients


def _backward(
    loss: Tensor, network: nn.Module | None, processes: Processes, *, retain_graph: bool = False
) -> None:
    """Add a loss's gradient to that of one network alone."""
    assert network is not None
    weights = list(network.parameters())
    processes.scale(loss).backward(inputs=weights, retain_graph=retain_graph)


def _gradient_at(sr: Tensor, term: Tensor, processes: Processes) -> Tensor:
    """Return a term's gradient at sr; scaled on the way where fp16 is, in which it would vanish."""
    (gradient,) = torch.autograd.grad(processes.scale(term), sr, retain_graph=True)
    return gradient / processes.scale(torch.ones_like(term))


def _move(
    names: Sequence[str],
    state: State,
    losses: Means,
    skip: Tensor,
    statistics: Sequence[Tensor] = (),
) -> Tensor:
    """Let optimisers step unless something isn't finite; return whether the batch is skipped.

    Gradients, losses and ``statistics`` are averaged over the processes.
    """
    optimizers = [state.optimizers[name] for name in names]
    weights = [w for opt in optimizers for group in opt.param_groups for w in group["params"]]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    state.processes.average([*gradients, *statistics, *losses.values()])
    scaler, clip = state.processes.scaler, state.recipe.optimizer.clip
    if scaler is not None:
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
    lengths = torch._foreach_norm(gradients) if gradients else ()
    skip = skip | ~torch.stack([*lengths, *losses.values()]).isfinite().all()
    for optimizer in optimizers:
        if clip is not None:
            clipped = [w for group in optimizer.param_groups for w in group["params"]]
            torch.nn.utils.clip_grad_norm_(clipped, clip, foreach=True)
        # Fused optimisers skip a step on the device for gradient scaling; this is the same.
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]
    if scaler is not None:
        scaler.update()
    return skip


def _pieces(batch: Batch, count: int) -> list[Batch]:
    if count == 1:
        return [batch]
    hr, seeds = batch.hr.chunk(count), batch.seeds.chunk(count)
    lr = batch.lr.chunk(count) if batch.lr is not None else [None] * len(hr)
    return [Batch(*part) for part in zip(hr, seeds, lr, strict=True)]


def lr_of(parts: Parts, batch: Batch) -> Tensor:
    """Return a batch's LR images: its own, or else its HR images degraded."""
    if batch.lr is not None:
        return batch.lr.contiguous(memory_format=torch.channels_last)
    return parts.lr(batch.hr, batch.seeds)


def _statistics(real: Tensor, fake: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the mean probabilities that D gives to hr and sr, and the share it gets right."""
    yield "d_real", real.sigmoid().mean()
    yield "d_fake", fake.sigmoid().mean()
    yield "d_accuracy", ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
