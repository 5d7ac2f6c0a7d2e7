"""Everything that decides the rest of a run: into a checkpoint and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from srkit.models import checkpoint
from srkit.models.checkpoint import Checkpoint
from srkit.recipe import Optimizer, Recipe
from srkit.training import parts as build
from srkit.training.distributed import Processes
from srkit.training.parts import Parts

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


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


@dataclass(frozen=True)
class Skipped:
    """Batches that moved nothing, since the last line of the log.

    Attributes:
        count: How many.
        streak: How many in a row, up to now.
        longest: The most in a row.
        since: Number of the first batch of the longest streak, from 1.
    """

    count: int
    streak: int
    longest: int
    since: int


class Window:
    """What the next line of the log will say, kept on the device.

    The host reads it once a line, and waits for the device then.

    Attributes:
        names: Of the sums, in order.
        sums: Over the batches that weren't skipped, float32.
        counts: int64: how many those are, and the numbers of `Skipped`.
    """

    def __init__(self, device: torch.device) -> None:
        self.names: tuple[str, ...] = ()
        self.sums = torch.zeros(0, device=device)
        self.counts = torch.zeros(5, dtype=torch.int64, device=device)

    def add(self, seen: Mapping[str, Tensor], skipped: Tensor, number: int) -> None:
        """Count one batch.

        Args:
            seen: Scalars, the same names every time.
            skipped: Whether it was, a bool scalar; then its values are left out.
            number: Of the batch, from 1.
        """
        values = torch.where(skipped, 0.0, torch.stack(list(seen.values())))
        self.sums = self.sums + values if len(self.sums) else values
        self.names = tuple(seen)
        good, count, streak, longest, since = self.counts.unbind()
        streak = (streak + 1) * skipped
        since = torch.where(skipped & (streak >= longest), number + 1 - streak, since)
        longest = torch.maximum(longest, streak)
        self.counts = torch.stack([good + ~skipped, count + skipped, streak, longest, since])

    def means(self) -> dict[str, float]:
        """Return the means over the batches that weren't skipped; empty if all were."""
        good = int(self.counts[0])
        if not good:
            return {}
        return {k: v / good for k, v in zip(self.names, self.sums.tolist(), strict=True)}

    def skipped(self) -> Skipped:
        """Return what was skipped since the last line."""
        return Skipped(*self.counts.tolist()[1:])

    def begin_line(self, number: int) -> None:
        """Forget all but the current streak, after batch ``number``."""
        streak = self.skipped().streak
        self.sums = torch.zeros_like(self.sums)
        counts = [0, 0, streak, streak, number + 1 - streak]
        self.counts = torch.tensor(counts, device=self.counts.device)


@dataclass
class State:
    """Networks, optimisers and counters of a run, on their device.

    Attributes:
        recipe: Of the run.
        processes: Those that take part.
        step: Batches done.
        networks: ``generator``, and ``discriminator`` where there is one.
        optimizers: ``optimizer_g``, and ``optimizer_d``.
        average: The generator's moving average, if the recipe has one.
        window: What the next line of the log will say.
        scores: Of the last validation.
        best: The best validation so far: its ``step``, and its score by the metric's name.
        gone_back: Whether the run has gone back to a checkpoint and learns more slowly since.
        embedders: Whom its losses please, from `parts.embedders`.
    """

    recipe: Recipe
    processes: Processes
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    average: ModelEmaV3 | None
    window: Window
    step: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    gone_back: bool = False
    embedders: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, parts: Parts, processes: Processes) -> State:
        """Return the state in which a run of these parts starts."""
        networks = {"generator": parts.generator}
        optimizers = {"optimizer_g": optimizer_for(parts.generator, recipe.optimizer)}
        if parts.discriminator is not None:
            networks["discriminator"] = parts.discriminator
            optimizers["optimizer_d"] = optimizer_for(parts.discriminator, recipe.optimizer)
        average = None
        if recipe.ema:
            # Not torch's AveragedModel: it counts its updates in a tensor, and waits for that.
            from timm.utils import ModelEmaV3  # takes seconds to import, and few recipes want it

            average = ModelEmaV3(parts.generator, decay=recipe.ema)
        window, pleased = Window(processes.device), build.embedders(parts.terms)
        return cls(recipe, processes, networks, optimizers, average, window, embedders=pleased)

    @property
    def shipped(self) -> nn.Module:
        """The generator that is validated and shipped: the average, if there is one."""
        its: nn.Module = self.average.module if self.average else self.networks["generator"]
        return its

    def buffers(self) -> list[Tensor]:
        """Return the networks' buffers, such as batch normalisation's running statistics."""
        return [buffer for network in self.networks.values() for buffer in network.buffers()]

    def origin(self) -> dict[str, Any]:
        """Return what a file of weights alone should tell of the training besides its recipe."""
        return {"embedders": self.embedders} if self.embedders else {}

    def _modules(self) -> dict[str, nn.Module]:
        return self.networks | ({"ema": self.average} if self.average else {})

    def capture(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return (tensors, plain values) that `restore` takes; all processes must ask together.

        The tensors are those of the run, not copies.
        """
        metadata: dict[str, Any] = {"scores": self.scores, "best": self.best, **self.origin()}
        metadata |= {"gone_back": self.gone_back, "window": list(self.window.names)}
        tensors: dict[str, Tensor] = {}
        for name, network in self._modules().items():
            tensors |= checkpoint.prefixed(name, network.state_dict())
        for name, its in self.optimizers.items():
            state, metadata[name] = checkpoint.optimizer_state(its)
            tensors |= checkpoint.prefixed(name, state)
        window = {"sums": self.window.sums, "counts": self.window.counts}
        tensors |= checkpoint.prefixed("window", window)
        for rank, (state, plain) in enumerate(self.processes.collect(checkpoint.rng_state())):
            name = _rng(rank)
            metadata[name] = plain
            tensors |= checkpoint.prefixed(name, state)
        if self.processes.accelerator.scaler is not None:
            metadata["scaler"] = self.processes.accelerator.scaler.state_dict()
        return tensors, metadata

    def restore(self, found: Checkpoint, what: str) -> None:
        """Go back to where a checkpoint was captured.

        Args:
            found: With what `capture` gave.
            what: Named where weights don't fit.

        Raises:
            InputError: Weights don't fit, or a loss had another embedder until then.
        """
        its = found.metadata
        self.embedders = build.unchanged(its.get("embedders", {}), self.embedders, what)
        self.step = found.step
        self.scores, self.best = dict(its["scores"]), dict(its["best"])
        self.gone_back = its["gone_back"]
        for name, network in self._modules().items():
            checkpoint.load_weights(network, found.part(name), f"{what}: {name}")
        for name, optimizer in self.optimizers.items():
            checkpoint.restore_optimizer(optimizer, found.part(name), its[name])
        device = self.processes.device
        window = found.part("window")
        self.window.names = tuple(its["window"])
        self.window.sums = window["sums"].to(device, copy=True)
        self.window.counts = window["counts"].to(device, copy=True)
        # A process that wasn't there before starts from its seed.
        if (name := _rng(self.processes.rank)) in its:
            checkpoint.restore_rng(found.part(name), its[name])
        if self.processes.accelerator.scaler is not None and "scaler" in its:
            self.processes.accelerator.scaler.load_state_dict(its["scaler"])

    def go_back(self, found: Checkpoint, what: str) -> None:
        """Restore a checkpoint of a run that has come to nothing since, and mark it as such.

        The best validation so far stays, since a file holds its weights; so does the scale of
        fp16's gradients, which may have had to fall.
        """
        best, scaler = self.best, self.processes.accelerator.scaler
        scale = None if scaler is None else scaler.state_dict()
        self.restore(found, what)
        self.best, self.gone_back = best, True
        if scaler is not None:
            scaler.load_state_dict(scale)

    def snapshot(self) -> Checkpoint:
        """Return a copy of all this, in memory, for `restore`."""
        tensors, metadata = self.capture()
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return Checkpoint(copies, self.recipe, self.step, metadata)

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of all optimisers."""
        for group in _groups(self.optimizers.values()):
            group["lr"] = rate


def _rng(rank: int) -> str:
    return f"rng{rank}" if rank else "rng"


def _groups(optimizers: Iterable[torch.optim.Optimizer]) -> Iterable[dict[str, Any]]:
    return (group for optimizer in optimizers for group in optimizer.param_groups)
