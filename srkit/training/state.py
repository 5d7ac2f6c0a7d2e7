"""Everything that decides the rest of a run: into a checkpoint and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from srkit.errors import InputError
from srkit.inference.model import Model
from srkit.models import checkpoint
from srkit.models.checkpoint import Checkpoint
from srkit.recipe import Recipe
from srkit.training.distributed import Processes
from srkit.training.optimizers import optimizer_for
from srkit.training.parts import Parts, loss_embedders, merge_embedders, preserved_rng


@dataclass(frozen=True)
class Skipped:
    """Steps that moved nothing, since the last line of the log: current and longest streak.

    ``since`` is the number, from 1, of the longest streak's first step.
    """

    count: int
    streak: int
    longest: int
    since: int


class Window:
    """What the next line of the log will say, kept on the device.

    The host reads it once a line, and waits for the device then.
    """

    def __init__(self, device: torch.device) -> None:
        self.names: tuple[str, ...] = ()  # of the sums, in order
        self.sums = torch.zeros(0, device=device)  # over the steps that weren't skipped
        # How many those are, and the numbers of `Skipped`.
        self.counts = torch.zeros(5, dtype=torch.int64, device=device)

    def add(self, values: Mapping[str, Tensor], skipped: Tensor, number: int) -> None:
        """Count a step, of this number from 1; the values of one that is skipped are left out."""
        stacked = torch.where(skipped, 0.0, torch.stack(list(values.values())))
        self.sums = self.sums + stacked if len(self.sums) else stacked
        self.names = tuple(values)
        good, count, streak, longest, since = self.counts.unbind()
        streak = (streak + 1) * skipped
        since = torch.where(skipped & (streak >= longest), number + 1 - streak, since)
        longest = torch.maximum(longest, streak)
        self.counts = torch.stack([good + ~skipped, count + skipped, streak, longest, since])

    def means(self) -> dict[str, float]:
        """Return the means over the steps that weren't skipped; empty if all were."""
        good = int(self.counts[0])
        if not good:
            return {}
        return {k: v / good for k, v in zip(self.names, self.sums.tolist(), strict=True)}

    def skipped(self) -> Skipped:
        """Return what was skipped since the last line."""
        return Skipped(*self.counts.tolist()[1:])

    def begin_line(self, number: int) -> None:
        """Forget all but the current streak, after step ``number``."""
        streak = self.skipped().streak
        self.sums = torch.zeros_like(self.sums)
        counts = [0, 0, streak, streak, number + 1 - streak]
        self.counts = torch.tensor(counts, device=self.counts.device)


@dataclass
class State:
    """Networks, optimisers and counters of a run, on their device."""

    recipe: Recipe
    processes: Processes  # those that take part
    networks: dict[str, nn.Module]  # ``generator``, and ``discriminator`` where there is one
    optimizers: dict[str, torch.optim.Optimizer]  # ``optimizer_g``, and ``optimizer_d``
    ema: nn.Module | None  # the generator's moving average, if the recipe has one
    window: Window  # what the next line of the log will say
    step: int = 0  # steps done
    scores: dict[str, float] = field(default_factory=dict)  # of the last validation
    # The best validation so far: its ``step``, and its score by the metric's name.
    best: dict[str, float] = field(default_factory=dict)
    recovered: bool = False  # whether it has gone back to a checkpoint, and is slower since
    embedders: dict[str, dict[str, str]] = field(default_factory=dict)  # see `loss_embedders`
    fingerprint: str = ""  # of the training photos
    # Framing to keys of the training photos, and of those of the model that the run starts from.
    trained_on: dict[str, Tensor] = field(default_factory=dict)
    # Training images over which batch normalisation of ``ema`` takes its statistics, since those
    # of the generator belong to other weights.
    lr_batches: Sequence[Tensor] = ()
    _estimated: bool = False

    @classmethod
    def of(cls, recipe: Recipe, parts: Parts, processes: Processes) -> State:
        """Return the state in which a run of these parts starts."""
        networks = {"generator": parts.generator}
        optimizers = {"optimizer_g": optimizer_for(parts.generator, recipe.optimizer)}
        if parts.discriminator is not None:
            networks["discriminator"] = parts.discriminator
            optimizers["optimizer_d"] = optimizer_for(parts.discriminator, recipe.optimizer)
        ema = copy.deepcopy(parts.generator).eval() if recipe.ema else None
        window, embedders = Window(processes.device), loss_embedders(parts.terms)
        return cls(recipe, processes, networks, optimizers, ema, window, embedders=embedders)

    def shipped(self) -> nn.Module:
        """Return the generator that is validated and shipped: ``ema``, if there is one.

        All processes must ask together.
        """
        if self.ema is None:
            return self.networks["generator"]
        if self.lr_batches and not self._estimated:
            with preserved_rng(self.processes.device):  # dropout draws
                update_bn(self.lr_batches, self.ema)
            self.processes.average([b for b in self.ema.buffers() if b.is_floating_point()])
            self._estimated = True
        return self.ema

    def buffers(self) -> list[Tensor]:
        """Return the networks' buffers, such as batch normalisation's running statistics."""
        return [buffer for network in self.networks.values() for buffer in network.buffers()]

    @torch.no_grad()
    def update_ema(self) -> None:
        """Move ``ema`` towards the weights after a step; the first one it takes whole."""
        if self.ema is None:
            return
        generator = self.networks["generator"]
        weight = 1 - self.recipe.ema if self.step > 1 else 1.0
        averages: list[Tensor] = list(self.ema.parameters())
        weights: list[Tensor] = list(generator.parameters())
        torch._foreach_lerp_(averages, weights, weight=weight)
        for buffer, current in zip(self.ema.buffers(), generator.buffers(), strict=True):
            buffer.copy_(current)
        self._estimated = False

    def start_from(self, first: Model) -> None:
        """Add what the model of ``init`` has learned from: its losses' embedders, its photos."""
        embedders = first.metadata.get("embedders", {})
        self.embedders |= {f"init.{loss}": about for loss, about in embedders.items()}
        self.add_trained_on(first.trained_on)

    def add_trained_on(self, keys: Mapping[str, Any]) -> None:
        """Add keys of photos that the weights have learned from, tensors or arrays."""
        for framing, more in keys.items():
            more = torch.as_tensor(more)
            known = self.trained_on.get(framing, more)
            self.trained_on[framing] = torch.cat([known, more]).unique()

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of a file that ships; all processes must ask together."""
        return {
            **checkpoint.prefixed("generator", self.shipped().state_dict()),
            **checkpoint.prefixed("trained_on", self.trained_on),
        }

    def describe(self) -> dict[str, Any]:
        """Return what every file of weights should tell of the training besides its recipe."""
        embedders = {"embedders": self.embedders} if self.embedders else {}
        return {"scores": self.scores, "data": self.fingerprint, **embedders}

    def _modules(self) -> dict[str, nn.Module]:
        return self.networks | ({"ema.module": self.ema} if self.ema else {})

    def capture(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors, plain values) that `restore` takes; all processes must ask together.

        The tensors are those of the run, not copies.
        """
        self.shipped()  # with statistics of its own
        metadata = self.describe() | {"best": self.best, "recovered": self.recovered}
        metadata["window"] = list(self.window.names)
        tensors = checkpoint.prefixed("trained_on", self.trained_on)
        for name, network in self._modules().items():
            tensors |= checkpoint.prefixed(name, network.state_dict())
        for name, optimizer in self.optimizers.items():
            moments, metadata[name] = checkpoint.optimizer_state(optimizer)
            tensors |= checkpoint.prefixed(name, moments)
        window = {"sums": self.window.sums, "counts": self.window.counts}
        tensors |= checkpoint.prefixed("window", window)
        for rank, (state, plain) in enumerate(self.processes.collect(checkpoint.rng_state())):
            metadata[_rng(rank)] = plain
            tensors |= checkpoint.prefixed(_rng(rank), state)
        if self.processes.scaler is not None:
            metadata["scaler"] = self.processes.scaler.state_dict()
        return tensors, metadata

    def restore(self, saved: Checkpoint, what: str) -> None:
        """Go back to where a checkpoint was captured; ``what`` names it in messages.

        InputError: weights don't fit, something is missing, or a loss had another embedder.
        """
        try:
            self._restore(saved, what)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{what}: a damaged checkpoint ({error!r:.200})") from error

    def _restore(self, saved: Checkpoint, what: str) -> None:
        metadata = saved.metadata
        self.embedders = merge_embedders(metadata.get("embedders", {}), self.embedders, what)
        self.step = saved.step
        self.scores, self.best = dict(metadata["scores"]), dict(metadata["best"])
        self.recovered = metadata["recovered"]
        self.add_trained_on(saved.part("trained_on"))
        for name, network in self._modules().items():
            checkpoint.load_weights(network, saved.part(name), f"{what}: {name}")
        for name, optimizer in self.optimizers.items():
            checkpoint.restore_optimizer(optimizer, saved.part(name), metadata[name])
        device = self.processes.device
        window = saved.part("window")
        self.window.names = tuple(metadata["window"])
        self.window.sums = window["sums"].to(device, copy=True)
        self.window.counts = window["counts"].to(device, copy=True)
        # A process that wasn't there before starts from its seed.
        if (name := _rng(self.processes.rank)) in metadata:
            checkpoint.restore_rng(saved.part(name), metadata[name])
        if self.processes.scaler is not None and "scaler" in metadata:
            self.processes.scaler.load_state_dict(metadata["scaler"])

    def snapshot(self) -> Checkpoint:
        """Return a copy of all this, in memory, for `restore`."""
        tensors, metadata = self.capture()
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return Checkpoint(copies, self.recipe, self.step, metadata)

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of all optimisers."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate


def _rng(rank: int) -> str:
    return f"rng{rank}" if rank else "rng"
