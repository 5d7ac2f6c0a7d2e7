"""The training loop, read from top to bottom."""

from __future__ import annotations

import json
import math
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srkit import build, checkpoint, registry, runs
from srkit import data as datasets
from srkit.errors import Interrupted, SrkitError
from srkit.recipe import Optimizer, Recipe
from srkit.validation import Validation

# Besides every validation: an early step, when all terms still have a long way to go.
GRADIENTS_AT = 100


@dataclass(frozen=True)
class Result:
    """What a run left behind.

    Attributes:
        model: The weights alone, averaged where the recipe has ``ema``.
        checkpoint: The last training checkpoint.
        step: Batches done.
        scores: The last validation: ``psnr``, ``ssim`` and their ``bicubic_`` twins.
    """

    model: Path
    checkpoint: Path
    step: int
    scores: Mapping[str, float]


@dataclass
class Stop:
    """Turns the first SIGINT or SIGTERM into a request, so that no batch is torn."""

    asked: bool = False
    _old: dict[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(number, self._old[number])  # a second one ends it at once

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def learning_rate(settings: Optimizer, step: int, steps: int) -> float:
    """Return the learning rate of batch ``step``, counted from 0, of ``steps``."""
    rate = settings.learning_rate
    if settings.schedule == "step":
        rate *= settings.factor ** (step // settings.every)
    elif settings.schedule == "cosine":
        half = 0.5 * (1 + math.cos(math.pi * step / steps))
        rate *= settings.floor + (1 - settings.floor) * half
    return rate * min(1.0, (step + 1) / (settings.warmup + 1))


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


def gradient_norms(terms: Mapping[str, Tensor], sr: Tensor) -> dict[str, float]:
    """Return each unweighted term's gradient norm at sr, over the whole batch."""
    return {
        name: float(torch.autograd.grad(term, sr, retain_graph=True)[0].norm())
        for name, term in terms.items()
    }


def require_finite(sums: Mapping[str, Tensor], step: int) -> None:
    """Read the sums of what is logged from the device, and end a run that has diverged.

    Raises:
        SrkitError: One of them isn't finite.
    """
    if bad := [name for name, value in sums.items() if not value.isfinite()]:
        raise SrkitError(
            f"{', '.join(bad)} is not finite around step {step}; start anew with a "
            "lower optimizer.learning_rate and another --out"
        )


def train(
    recipe: Recipe | str,
    *,
    data: str | Path = "celeba",
    val: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    checkpoint_every: int = 1000,
    log_every: int = 50,
    resume: bool = False,
    report: Callable[[Mapping[str, Any]], None] = lambda record: None,
) -> Result:
    """Train a recipe.

    One pass serves both networks: sr = G(lr), and D sees hr and sr in two calls (together, they
    would mix batch statistics). With ``simultaneous`` updates both gradients are taken from that
    pass and only then do both optimisers step, as the paper words it (section III, P6).

    Args:
        recipe: A `Recipe`, or the name of a registered one.
        data: Folder of HR photos, a data set's name, or ``samples``.
        val: Folder of held-out photos; without it the data set's own ``val`` split, or a
            twentieth of the photos.
        out: Folder of the run; ``runs/NAME`` unless given.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        checkpoint_every: Batches between checkpoints; the last three are kept.
        log_every: Batches between lines of ``log.jsonl``; losses are their means over these.
        resume: Go on from the newest checkpoint in ``out``; bitwise the same on CPU.
        report: Called with ``{"start": …}`` before the loop, with every record of the log, and
            about once a second with ``{"step": …}`` alone.

    Returns:
        Where the weights are, and how good.

    Raises:
        SrkitError: The recipe's parts don't fit, the data can't be read, the folder holds a run
            already, a loss is no longer finite, or the run was interrupted.
    """
    # --- what to train, on what, and where it goes -------------------------------------------
    if isinstance(recipe, str):
        recipe = registry.build("recipes", recipe)
        assert isinstance(recipe, Recipe)
    out = Path(out) if out else runs.default_folder(recipe.name)
    where = build.device_named(device)
    torch.manual_seed(recipe.seed)
    np.random.seed(recipe.seed % 2**32)
    random.seed(recipe.seed)
    parts = build.parts(recipe, where)
    build.rehearse(recipe, parts, where)
    photos, held_out = datasets.load(data, val, recipe.data)
    fingerprint = photos.fingerprint()
    found = None
    if resume:
        found = runs.resume(out, recipe, fingerprint)
    else:
        runs.begin(out, recipe)

    generator, critic, objective = parts.generator, parts.discriminator, parts.objective
    networks: dict[str, nn.Module] = {"generator": generator}
    generator_optimizer = optimizer_for(generator, recipe.optimizer)
    optimizers = {"optimizer_g": generator_optimizer}
    critic_optimizer = None
    if critic is not None:
        networks["discriminator"] = critic
        critic_optimizer = optimizers["optimizer_d"] = optimizer_for(critic, recipe.optimizer)
    average = None
    if recipe.ema:
        mean = get_ema_multi_avg_fn(recipe.ema)
        networks["ema"] = average = AveragedModel(generator, multi_avg_fn=mean, use_buffers=True)
    best = average.module if average else generator  # what is validated and shipped
    generator_weights = list(generator.parameters())
    critic_weights = list(critic.parameters()) if critic else []
    weights = {name: term.weight for name, term in parts.terms.items()}
    simultaneous = False
    if recipe.adversarial:
        weights["adversarial"] = recipe.adversarial.weight
        simultaneous = recipe.adversarial.updates == "simultaneous"

    window: dict[str, Tensor] = {}  # sums of what is logged, since the last line; on the device
    counted = 0  # batches in the window
    start = 0
    scores: dict[str, float] = {}
    if found:
        start, scores = found.step, found.metadata["scores"]
        for name, network in networks.items():
            checkpoint.load_weights(network, found.part(name), f"{out}: {name}")
        for name, its in optimizers.items():
            checkpoint.restore_optimizer(its, found.part(name), found.metadata[name])
        checkpoint.restore_rng(found.part("rng"), found.metadata["rng"])
        window = {name: value.to(where) for name, value in found.part("window").items()}
        counted = found.metadata["window"]

    # --- data on the device ------------------------------------------------------------------
    photos = photos.to(where)
    sampler = datasets.Sampler(len(photos), recipe.batch_size, recipe.seed)
    validation = Validation.of(held_out.to(where), parts.degrade, recipe.scale)
    baseline = {f"bicubic_{name}": value for name, value in validation.baseline().items()}
    report(
        {
            "start": start,
            "steps": recipe.steps,
            "photos": len(photos),
            "held_out": len(held_out),
            "broken": photos.broken + held_out.broken,
            "device": str(where),
            "out": str(out),
            **baseline,
        }
    )

    def save(step: int) -> Path:
        require_finite(window, step)
        tensors: dict[str, Tensor] = {}
        metadata: dict[str, Any] = {"scores": scores, "data": fingerprint, "window": counted}
        for name, network in networks.items():
            tensors |= checkpoint.prefixed(name, network.state_dict())
        for name, its in optimizers.items():
            state, metadata[name] = checkpoint.optimizer_state(its)
            tensors |= checkpoint.prefixed(name, state)
        state, metadata["rng"] = checkpoint.rng_state()
        tensors |= checkpoint.prefixed("rng", state)
        tensors |= checkpoint.prefixed("window", window)
        file = runs.checkpoint_file(out, step)
        checkpoint.write(file, tensors, recipe, step, metadata)
        runs.forget_old(out)
        return file

    # --- the loop ----------------------------------------------------------------------------
    generator.train()
    last = runs.checkpoint_file(out, start)
    clock, clock_step = time.perf_counter(), start
    told = clock
    with Stop() as stop, (out / runs.LOG).open("a", encoding="utf-8", buffering=1) as log:
        for step in range(start, recipe.steps):
            done = step + 1
            rate = learning_rate(recipe.optimizer, step, recipe.steps)
            for its in optimizers.values():
                for group in its.param_groups:
                    group["lr"] = rate

            index, keys = sampler.batch(step)
            hr, noise = datasets.batch(photos, index, keys, flips=recipe.data.flips)
            hr = hr.contiguous(memory_format=torch.channels_last)
            lr = parts.degrade(hr, seeds=noise).contiguous(memory_format=torch.channels_last)

            sr = generator(lr)
            terms: dict[str, Tensor] = {}
            seen: dict[str, Tensor] = {}
            given: dict[str, Any] = {"sr": sr, "hr": hr, "lr": lr}
            critic_loss = None
            if critic is not None:
                assert objective
                assert critic_optimizer
                if not simultaneous:
                    real, fake = critic(hr), critic(sr.detach())
                    critic_loss = objective.discriminator(real.logits, fake.logits)
                    critic_optimizer.zero_grad()
                    critic_loss.backward()
                    critic_optimizer.step()
                real, fake = critic(hr), critic(sr)
                terms["adversarial"] = objective.generator(real.logits.detach(), fake.logits)
                given |= {"real": build.detached(real), "fake": fake}
                if simultaneous:
                    critic_loss = objective.discriminator(real.logits, fake.logits)
                seen = {
                    "d_real": real.logits.detach().sigmoid().mean(),
                    "d_fake": fake.logits.detach().sigmoid().mean(),
                    "d_accuracy": (
                        (real.logits.detach() > 0).float().mean()
                        + (fake.logits.detach() < 0).float().mean()
                    )
                    / 2,
                }
            terms |= {name: term(given) for name, term in parts.terms.items()}
            loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()

            validate = done % recipe.validate_every == 0 or done == recipe.steps
            record: dict[str, Any] = {"step": done}
            if validate or done == GRADIENTS_AT:
                record["gradient_norms"] = gradient_norms(terms, sr)

            # Both gradients are taken before either network moves: stepping would change
            # weights that the other gradient's graph still holds.
            generator_optimizer.zero_grad()
            loss.backward(inputs=generator_weights, retain_graph=simultaneous)
            if simultaneous and critic_loss is not None and critic_optimizer:
                critic_optimizer.zero_grad()
                critic_loss.backward(inputs=critic_weights)
                critic_optimizer.step()
            generator_optimizer.step()
            if average is not None:
                average.update_parameters(generator)

            # Sums stay on the device; the host reads them once a line, and so waits once a line.
            seen |= {name: term.detach() for name, term in terms.items()} | {"loss": loss.detach()}
            if critic_loss is not None:
                seen["discriminator"] = critic_loss.detach()
            for name, value in seen.items():
                window[name] = window[name] + value if name in window else value
            counted += 1
            write = done % log_every == 0 or done == recipe.steps
            keep = done % checkpoint_every == 0 or done == recipe.steps
            if write or validate:
                require_finite(window, done)
            if write:
                count, counted = counted, 0
                losses = {name: float(value) / count for name, value in window.items()}
                window = {}
                now = time.perf_counter()
                speed = (done - clock_step) * recipe.batch_size / (now - clock)
                clock, clock_step = now, done
                record |= {"losses": losses, "learning_rate": rate, "pictures_per_second": speed}
            if validate:
                sr = validation.enlarge(best, recipe.batch_size)
                scores = {**validation.scores(sr), **baseline}
                validation.draw_grid(sr, out / f"grid-{done:08d}.png")
                record["validation"] = scores
            if len(record) > 1:
                log.write(json.dumps(record) + "\n")
            if len(record) > 1 or time.perf_counter() - told > 1:
                told = time.perf_counter()
                report(record)
            stopping = stop.asked and done < recipe.steps
            if keep or stopping:
                last = save(done)
            if stopping:
                raise Interrupted(f"stopped at step {done}, saved {last}; go on with --resume")

    # --- the weights alone -------------------------------------------------------------------
    if start == recipe.steps:  # nothing was left to do; the stored scores may be of an earlier step
        sr = validation.enlarge(best, recipe.batch_size)
        scores = {**validation.scores(sr), **baseline}
    model = out / runs.MODEL
    tensors = checkpoint.prefixed("generator", best.state_dict())
    metadata = {"scores": scores, "data": fingerprint}
    checkpoint.write(model, tensors, recipe, recipe.steps, metadata)
    return Result(model, last, recipe.steps, scores)
