"""Degradations composed of steps, and the ready ones among them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import TypeAliasType

from srkit import seeds as noise_of
from srkit_kornia.blur import Blur
from srkit_kornia.canvas import Canvas, Frame, Operation, merged
from srkit_kornia.draws import Weight, chosen
from srkit_kornia.jpeg import Jpeg, rounded
from srkit_kornia.noise import Noise
from srkit_kornia.resize import Kernel, Resize

_APPLIED, _BRANCH = 0, 1  # streams of a step's seeds; other steps count from 1, too


class OneOf(Operation):
    """Take one of several branches at random.

    All branches are computed for the whole batch, so keep what is costly outside.

    Attributes:
        branches: Lists of steps; an empty one leaves the image as it is.
        weights: Weights of the branches; by default all equal.
    """

    do: Literal["one-of"] = "one-of"
    branches: Annotated[tuple[tuple[_AnyStep, ...], ...], Field(min_length=1)]
    weights: tuple[Weight, ...] | None = None

    @pydantic.model_validator(mode="after")
    def _a_weight_each(self) -> Self:
        weights = self.weights
        if weights is not None and len(weights) != len(self.branches):
            raise ValueError(f"{len(weights)} weights for {len(self.branches)} branches")
        if weights is not None and not sum(weights):
            raise ValueError("one of the weights must be above 0")
        return self

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return each image as its branch leaves it."""
        index = chosen(self.weights or [1.0] * len(self.branches), seeds, _BRANCH)
        result = through(self.branches[0], canvas, frame, noise_of.derive(seeds, 0))
        for number, branch in enumerate(self.branches[1:], start=1):
            other = through(branch, canvas, frame, noise_of.derive(seeds, number))
            result = merged(index == number, other, result)
        return result


_AnyStep = Annotated[Blur | Resize | Noise | Jpeg | OneOf, Field(discriminator="do")]
# With a name of its own it is shown as `Step` where options are listed.
Step = TypeAliasType("Step", _AnyStep)
OneOf.model_rebuild()


def through(steps: Sequence[Operation], canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
    """Apply steps in turn; each has seeds of its own by its place."""
    for number, step in enumerate(steps):
        own = noise_of.derive(seeds, number)
        done = step(canvas, frame, own)
        if step.probability < 1:
            done = merged(noise_of.uniform(own, (), _APPLIED) < step.probability, done, canvas)
        canvas = done
    return canvas


class Chain(nn.Module):
    """Steps in turn, then down to the size of lr, clamp, and 8 bits.

    Args:
        scale: How many times smaller lr is.
        steps: Tables with a key ``do`` (``blur``, ``resize``, ``noise``, ``jpeg``, ``one-of``)
            and that step's options; none: only shrink.
        kernel: Kernel of the resize at the end, for what the steps haven't brought to lr's size:
            ``bicubic``, ``bilinear``, ``area`` or ``lanczos``.
        quantise: Round to 8 bits, as a file would.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        steps: tuple[Step, ...] = (),
        kernel: Kernel = "bicubic",
        quantise: bool = True,
    ) -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale is a whole number from 1 up, not {scale}")
        self.scale, self.quantise = scale, quantise
        self.steps: tuple[Operation, ...] = _STEPS.validate_python(steps)
        self.shrink = Resize(kernel={kernel: 1.0})

    def forward(self, hr: Tensor, *, seeds: Tensor) -> Tensor:
        """Map ``hr`` (B3HW in [0, 1]) to ``lr`` (B3hw), h = H / scale; ``seeds`` int64, ``B``."""
        height, width = hr.shape[-2:]
        if height % self.scale or width % self.scale:
            raise ValueError(f"hr {(height, width)} is no multiple of scale {self.scale}")
        frame = Frame((height, width), (height // self.scale, width // self.scale))
        canvas = through((*self.steps, self.shrink), Canvas(hr), frame, seeds)
        lr = canvas.pixels.clamp(0, 1)
        return rounded(lr * 255) / 255 if self.quantise else lr


_STEPS = pydantic.TypeAdapter[tuple[Step, ...]](tuple[Step, ...])


def _ready(name: str, about: str) -> Callable[..., Chain]:
    """Return the factory of a chain in a TOML file, which `srkit info` shows to be copied."""
    toml = Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
    steps = _STEPS.validate_python(tomllib.loads(toml)["degradation"]["steps"])

    def factory(*, scale: int = 4, quantise: bool = True) -> Chain:
        return Chain(scale=scale, steps=steps, quantise=quantise)

    factory.__doc__ = (
        f"{about}\n\nThe same as this chain, which can be changed in a recipe:\n\n{toml}"
    )
    return factory


first_order = _ready(
    "first-order",
    "One round of blur, resize, noise and JPEG: the classical model, drawn per image.",
)
second_order = _ready(
    "second-order",
    "Two rounds of blur, resize, noise and JPEG: photographs of unknown history.\n\n"
    'The high-order model of Wang, Xie, Dong and Shan, "Real-ESRGAN" (2021, section 3),\n'
    "with the ranges that the paper reports.",
)
web_faces = _ready(
    "web-faces",
    "Small faces as people have them: some clean, most blurred, noisy or compressed as JPEG.",
)
