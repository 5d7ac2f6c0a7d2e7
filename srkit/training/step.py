"""One step of training: a batch through both networks, and both optimisers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from srkit.data.jitter import jittered
from srkit.data.sampler import Batch
from srkit.hookspecs import DiscriminatorOutput
from srkit.training import parts as build
from srkit.training.distributed import Processes
from srkit.training.parts import Parts
from srkit.training.state import State


def step(state: State, parts: Parts, batch: Batch, *, norms: bool = False) -> dict[str, Tensor]:
    """Take one step.

    One pass serves both networks: sr = G(lr), and D sees hr and sr in two calls (together, they
    would mix batch statistics). With ``simultaneous`` updates both gradients are taken from that
    pass and only then do both optimisers step, as the paper words it (section III, P6).

    A batch with a loss or a gradient that isn't finite moves nothing; whether it is so never
    leaves the device. With ``alternating`` updates the discriminator has moved already where only
    the generator's part is bad. Nothing here waits for the device.

    Args:
        state: Moved by one step; its window counts the batch.
        parts: The recipe's.
        batch: This process's share.
        norms: Also return gradient norms.

    Returns:
        Each unweighted term's gradient norm at sr, over the whole batch, if asked for.
    """
    recipe, processes = state.recipe, state.processes
    batch = jittered(batch, recipe, state.step)
    done = state.step / recipe.steps
    critic, objective = parts.discriminator, parts.objective
    shared = recipe.adversarial is not None and recipe.adversarial.updates == "simultaneous"
    generator_weights = list(parts.generator.parameters())
    before = [buffer.clone() for buffer in state.buffers()]
    for optimizer in state.optimizers.values():
        optimizer.zero_grad()
    seen: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    skip = torch.zeros((), dtype=torch.bool, device=processes.device)
    pieces = _pieces(batch, recipe.accumulate)
    enlarged: list[Tensor | None] = [None] * len(pieces)

    def count(name: str, value: Tensor) -> None:
        _add(seen, name, value.detach() / len(pieces))

    if critic is not None and objective is not None and not shared:
        for number, piece in enumerate(pieces):
            # One piece keeps its graph for the generator; of several, that would fill the memory.
            with contextlib.nullcontext() if len(pieces) == 1 else torch.no_grad():
                sr = _enlarge(parts.generator, _lr(parts, piece), processes)
            enlarged[number] = sr
            real, fake = _look(critic, piece.hr, processes), _look(critic, sr.detach(), processes)
            critic_loss = objective.discriminator(real.logits, fake.logits)
            processes.accelerator.backward(critic_loss, inputs=list(critic.parameters()))
            count("discriminator", critic_loss)
        skip = _move(state, ["optimizer_d"], seen, skip)

    for number, piece in enumerate(pieces):
        lr = _lr(parts, piece)
        early = enlarged[number]
        if early is not None and early.requires_grad:
            sr = early
        else:
            sr = _enlarge(parts.generator, lr, processes)
        terms: dict[str, Tensor] = {}
        given: dict[str, Any] = {"sr": sr, "hr": piece.hr, "lr": lr}
        shared_loss = None
        if critic is not None and objective is not None:
            real, fake = _look(critic, piece.hr, processes), _look(critic, sr, processes)
            terms["adversarial"] = objective.generator(real.logits.detach(), fake.logits)
            given |= {"real": build.detached(real), "fake": fake}
            if shared:
                shared_loss = objective.discriminator(real.logits, fake.logits)
                count("discriminator", shared_loss)
            for name, value in _judgement(real.logits.detach(), fake.logits.detach()):
                count(name, value)
        terms |= {name: term(given) for name, term in parts.terms.items()}
        weighted = [parts.weight(name, done) * term for name, term in terms.items()]
        loss = torch.stack(weighted).sum()
        for name, value in (*terms.items(), ("loss", loss)):
            count(name, value)
        if norms:
            for name, term in terms.items():
                gradient = _gradient_at(sr, term, processes) / (len(pieces) * processes.count)
                _add(squares, name, gradient.square().sum())

        # Both gradients are taken before either network moves: stepping would change weights
        # that the other gradient's graph still holds.
        retain = shared_loss is not None
        processes.accelerator.backward(loss, inputs=generator_weights, retain_graph=retain)
        if critic is not None and shared_loss is not None:
            processes.accelerator.backward(shared_loss, inputs=list(critic.parameters()))

    skip = _move(state, list(state.optimizers) if shared else ["optimizer_g"], seen, skip)
    for buffer, old in zip(state.buffers(), before, strict=True):
        buffer.copy_(torch.where(skip, old, buffer))
    state.step += 1
    if state.average is not None:
        state.average.update(parts.generator, state.step)
    state.window.add(seen, skip, state.step)
    processes.average(list(squares.values()))
    return {name: (square * processes.count).sqrt() for name, square in squares.items()}


def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    sums[name] = sums[name] + value if name in sums else value


def _gradient_at(sr: Tensor, term: Tensor, processes: Processes) -> Tensor:
    """Return a term's gradient at sr; scaled on the way where fp16 is, in which it would vanish."""
    scaler = processes.accelerator.scaler
    if scaler is None:
        return torch.autograd.grad(term, sr, retain_graph=True)[0]
    (gradient,) = torch.autograd.grad(scaler.scale(term), sr, retain_graph=True)
    result: Tensor = gradient / scaler.scale(torch.ones_like(term))
    return result


def _move(state: State, names: Sequence[str], seen: dict[str, Tensor], skip: Tensor) -> Tensor:
    """Let optimisers step unless the batch is skipped or something isn't finite.

    Args:
        state: With gradients.
        names: Of the optimisers.
        seen: The losses that the gradients come from; averaged over the processes.
        skip: Whether the batch is skipped already, a bool scalar.

    Returns:
        Whether the batch is skipped.
    """
    optimizers = [state.optimizers[name] for name in names]
    weights = [w for its in optimizers for group in its.param_groups for w in group["params"]]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    statistics = [buffer for buffer in state.buffers() if buffer.is_floating_point()]
    state.processes.average([*gradients, *statistics, *seen.values()])
    scaler = state.processes.accelerator.scaler
    if scaler is not None:
        for optimizer in optimizers:
            scaler.unscale_(optimizer)
    sizes = torch._foreach_norm(gradients) if gradients else ()
    skip = skip | ~torch.stack([*sizes, *seen.values()]).isfinite().all()
    if state.recipe.optimizer.clip is not None:
        for optimizer in optimizers:
            _clip(optimizer, state.recipe.optimizer.clip)
    for optimizer in optimizers:
        # Fused optimisers skip a step on the device for gradient scaling; this is the same.
        optimizer.found_inf = skip.float()  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]
    if scaler is not None:
        scaler.update()
    return skip


def _clip(optimizer: torch.optim.Optimizer, most: float) -> None:
    """Scale a network's gradient down to the norm ``most`` where it is longer."""
    weights = [w for group in optimizer.param_groups for w in group["params"]]
    torch.nn.utils.clip_grad_norm_(weights, most, foreach=True)


def _pieces(batch: Batch, count: int) -> list[Batch]:
    if count == 1:
        return [batch]
    lr = batch.lr.chunk(count) if batch.lr is not None else [None] * count
    parts = zip(batch.hr.chunk(count), batch.seeds.chunk(count), lr, strict=True)
    return [Batch(*part) for part in parts]


def _lr(parts: Parts, batch: Batch) -> Tensor:
    lr = batch.lr if batch.lr is not None else parts.degrade(batch.hr, seeds=batch.seeds)
    return lr.contiguous(memory_format=torch.channels_last)


def _enlarge(generator: nn.Module, lr: Tensor, processes: Processes) -> Tensor:
    with processes.autocast():
        sr: Tensor = generator(lr)
    return sr.float()  # losses are taken in float32


def _look(critic: nn.Module, picture: Tensor, processes: Processes) -> DiscriminatorOutput:
    with processes.autocast():
        seen: DiscriminatorOutput = critic(picture)
    return DiscriminatorOutput(seen.logits.float(), tuple(f.float() for f in seen.features))


def _judgement(real: Tensor, fake: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the mean probabilities that D gives to hr and sr, and the share it gets right."""
    yield "d_real", real.sigmoid().mean()
    yield "d_fake", fake.sigmoid().mean()
    yield "d_accuracy", ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
