"""Blurs with a kernel of its own for each image: Gaussian and its kin, motion, ringing."""

from __future__ import annotations

import math
from typing import Literal

import torch
from kornia.filters import filter2d
from pydantic import Field
from torch import Tensor

from srkit_kornia.canvas import Canvas, Frame, Operation, between, chosen, selected, whole
from srkit_kornia.options import Amount, Angle, Cutoff, Exponent, Span, Weighted, Window

Kernel = Literal["isotropic", "anisotropic", "motion", "sinc"]
Profile = Literal["gaussian", "generalised", "plateau"]

_KERNEL, _PROFILE, _SIGMA, _ACROSS, _ANGLE, _SHAPE, _LENGTH, _CUTOFF, _WINDOW = range(1, 10)
_SINC_RADIUS = 10  # pixels: two to four rings at the lower cutoffs
_LEAST_SIGMA = 0.01  # pixels: blurs nothing, and divides by no zero


def grid(radius: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return offsets from a kernel's middle to the right, ``11K``, and upwards, ``1K1``."""
    steps = torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype)
    return steps[None, None, :], -steps[None, :, None]


def turned(x: Tensor, y: Tensor, degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Return offsets along and across a direction: degrees (``B``) from x, counter-clockwise."""
    angle = torch.deg2rad(degrees)[:, None, None]
    return x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()


def motion(radius: int, length: Tensor, degrees: Tensor) -> Tensor:
    """Return kernels of even motion along a straight line, ``BKK``, not normalised.

    A line one pixel thick, antialiased by its distance. kornia's `get_motion_kernel2d` has one
    length a call, and by nearest neighbour a line whose weight depends on the angle.

    Args:
        radius: Radius of the kernel.
        length: In pixels, from 1 (no motion), shape ``B``.
        degrees: Direction, counter-clockwise from the x axis, shape ``B``.
    """
    along, across = turned(*grid(radius, length), degrees)
    inside = (length[:, None, None] / 2 + 0.5 - along.abs()).clamp(0, 1)
    return inside * (1 - across.abs()).clamp(min=0)


def sinc(radius: int, cutoff: Tensor) -> Tensor:
    """Return the ideal low-pass filter that rings, ``BKK``, not normalised.

    ``J1(w r) / r`` (Wang et al., 2021, equation 6), w the cutoff in radians a pixel, shape ``B``.
    """
    x, y = grid(radius, cutoff)
    bound = cutoff[:, None, None]
    distance = torch.sqrt(x * x + y * y)
    away = distance.clamp(min=1e-3)  # the limit at 0 is w / 2
    return torch.where(distance > 0, torch.special.bessel_j1(bound * away) / away, bound / 2)


class Blur(Operation):
    """Blur each image by a kernel of its own; borders are repeated outwards.

    The shapes are those of Wang et al. (2021, section 3.2); motion is ours.

    Attributes:
        kernel: ``isotropic``, ``anisotropic`` (two sigmas and an angle), ``motion`` (along a
            line), ``sinc`` (an ideal low-pass filter: it rings), or weights of several.
        sigma: Sigma of the first two, in pixels of the image at this step.
        profile: How the first two fall off, q being the squared distance in sigmas: ``gaussian``,
            ``exp(-q / 2)``; ``generalised``, ``exp(-q ** exponent / 2)``; ``plateau``,
            ``1 / (1 + q ** flatness)``; or weights.
        exponent: For ``generalised``: 1 is the Gaussian, less has longer tails.
        flatness: For ``plateau``.
        angle: For ``anisotropic`` (its first sigma) and ``motion``: degrees, counter-clockwise.
        length: For ``motion``, in pixels; 1 is no blur.
        cutoff: For ``sinc``: radians a pixel; pi removes nothing but the corners.
        window: Side of the kernel in pixels, odd; by default as wide as it needs (three sigmas;
            21 for ``sinc``).
    """

    do: Literal["blur"] = "blur"
    kernel: Weighted[Kernel] = Field({"isotropic": 1.0})
    sigma: Amount = (0.2, 3.0)
    profile: Weighted[Profile] = Field({"gaussian": 1.0})
    exponent: Exponent = (0.5, 4.0)
    flatness: Exponent = (1.0, 2.0)
    angle: Angle = (0.0, 180.0)
    length: Span = (3.0, 9.0)
    cutoff: Cutoff = (math.pi / 3, math.pi)
    window: Window | None = None

    @property
    def radius(self) -> int:
        """Radius of the largest kernel that this step can draw, in pixels."""
        if self.window is not None:
            return int(self.window[1]) // 2
        needs = {
            "isotropic": math.ceil(3 * self.sigma[1]),
            "anisotropic": math.ceil(3 * self.sigma[1]),
            "motion": math.ceil(self.length[1] / 2),
            "sinc": _SINC_RADIUS,
        }
        return max(needs[kernel] for kernel in self.kernel)

    def _falling(self, radius: int, seeds: Tensor, *, round_: bool) -> Tensor:
        """Return Gaussian, generalised or plateau-shaped kernels, ``BKK``, not normalised."""
        first = between(self.sigma, seeds, _SIGMA).clamp(min=_LEAST_SIGMA)
        x, y = grid(radius, first)
        if round_:
            squared = (x * x + y * y) / first[:, None, None] ** 2
        else:
            second = between(self.sigma, seeds, _ACROSS).clamp(min=_LEAST_SIGMA)
            along, across = turned(x, y, between(self.angle, seeds, _ANGLE))
            squared = (along / first[:, None, None]) ** 2 + (across / second[:, None, None]) ** 2
        shapes = []
        for profile in self.profile:
            if profile == "gaussian":
                shapes.append(torch.exp(-squared / 2))
            elif profile == "generalised":
                power = between(self.exponent, seeds, _SHAPE)[:, None, None]
                shapes.append(torch.exp(-(squared**power) / 2))
            else:
                power = between(self.flatness, seeds, _SHAPE)[:, None, None]
                shapes.append(1 / (1 + squared**power))
        return selected(chosen(self.profile.values(), seeds, _PROFILE), shapes)

    def kernels(self, seeds: Tensor) -> Tensor:
        """Return the kernel of each seed (int64, ``B``): ``BKK``, sums are 1."""
        radius = self.radius
        alternatives = []
        for kernel in self.kernel:
            if kernel == "motion":
                length = between(self.length, seeds, _LENGTH)
                alternatives.append(motion(radius, length, between(self.angle, seeds, _ANGLE)))
            elif kernel == "sinc":
                alternatives.append(sinc(radius, between(self.cutoff, seeds, _CUTOFF)))
            else:
                alternatives.append(self._falling(radius, seeds, round_=kernel == "isotropic"))
        result = selected(chosen(self.kernel.values(), seeds, _KERNEL), alternatives)
        if self.window is not None and self.window[0] < self.window[1]:
            side = whole(self.window, seeds, _WINDOW, every=2)[:, None, None]
            x, y = grid(radius, result)
            result = result * (torch.maximum(x.abs(), y.abs()) <= side // 2)
        return result / result.sum(dim=(1, 2), keepdim=True)

    def applied(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images blurred."""
        kernels = self.kernels(seeds).float()
        pixels = filter2d(canvas.filled(), kernels, border_type="replicate")
        return Canvas(pixels, canvas.sizes)
