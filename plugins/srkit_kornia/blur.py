"""Blurs with a kernel of its own for each image: Gaussian and its kin, motion, ringing."""

from __future__ import annotations

import math
from typing import Literal

import torch
from kornia.filters import filter2d
from pydantic import Field
from torch import Tensor

from srkit_kornia import draws
from srkit_kornia.canvas import Canvas, Frame, Operation
from srkit_kornia.draws import Ends, Weighted, between, mixed

Kernel = Literal["isotropic", "anisotropic", "motion", "sinc"]
Profile = Literal["gaussian", "generalised", "plateau"]

_KERNEL, _PROFILE, _SIGMA, _ACROSS, _ANGLE, _SHAPE, _LENGTH, _CUTOFF, _WINDOW = range(1, 10)
_SINC_RADIUS = 10  # pixels: two to four rings at the lower cutoffs
_LEAST_SIGMA = 0.01  # pixels: blurs nothing, and divides by no zero


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
    sigma: draws.Amount = (0.2, 3.0)
    profile: Weighted[Profile] = Field({"gaussian": 1.0})
    exponent: draws.Exponent = (0.5, 4.0)
    flatness: draws.Exponent = (1.0, 2.0)
    angle: draws.Angle = (0.0, 180.0)
    length: draws.Span = (3.0, 9.0)
    cutoff: draws.Cutoff = (math.pi / 3, math.pi)
    window: draws.Window | None = None

    @property
    def radius(self) -> int:
        """Radius of the largest kernel that this step can draw, in pixels."""
        if self.window is not None:
            return int(self.window[1]) // 2
        gaussian = math.ceil(3 * self.sigma[1])
        needs = {"motion": math.ceil(self.length[1] / 2), "sinc": _SINC_RADIUS}
        return max(needs.get(kernel, gaussian) for kernel in self.kernel)

    def _kernel(self, name: Kernel, x: Tensor, y: Tensor, seeds: Tensor) -> Tensor:
        """Return kernels of a kind on offsets ``11K`` and ``1K1``: ``BKK``, not normalised."""

        def drawn(ends: Ends, stream: int) -> Tensor:
            return between(ends, seeds, stream)[:, None, None]

        if name == "sinc":  # J1(w r) / r: Wang et al. (2021), equation 6
            cutoff = drawn(self.cutoff, _CUTOFF)
            distance = torch.sqrt(x * x + y * y)
            away = distance.clamp(min=1e-3)  # the limit at 0 is w / 2
            rings = torch.special.bessel_j1(cutoff * away) / away
            return torch.where(distance > 0, rings, cutoff / 2)
        if name == "isotropic":
            sigma = drawn(self.sigma, _SIGMA).clamp(min=_LEAST_SIGMA)
            return self._falling((x * x + y * y) / sigma**2, seeds)
        angle = torch.deg2rad(drawn(self.angle, _ANGLE))
        along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        if name == "motion":  # a line one pixel thick, antialiased by the distance from it
            inside = (drawn(self.length, _LENGTH) / 2 + 0.5 - along.abs()).clamp(0, 1)
            return inside * (1 - across.abs()).clamp(min=0)
        first, second = (
            drawn(self.sigma, each).clamp(min=_LEAST_SIGMA) for each in (_SIGMA, _ACROSS)
        )
        return self._falling((along / first) ** 2 + (across / second) ** 2, seeds)

    def _falling(self, squared: Tensor, seeds: Tensor) -> Tensor:
        """Return what the profiles make of squared distances in sigmas, ``BKK``."""

        def profile(name: Profile) -> Tensor:
            if name == "gaussian":
                return torch.exp(-squared / 2)
            ends = self.exponent if name == "generalised" else self.flatness
            power = squared ** between(ends, seeds, _SHAPE)[:, None, None]
            return torch.exp(-power / 2) if name == "generalised" else 1 / (1 + power)

        return mixed(self.profile, seeds, _PROFILE, profile)

    def kernels(self, seeds: Tensor) -> Tensor:
        """Return the kernel of each seed (int64, ``B``): ``BKK``, sums are 1."""
        steps = torch.arange(-self.radius, self.radius + 1, device=seeds.device)
        steps = steps.to(draws.working(seeds.device))
        x, y = steps[None, None, :], -steps[None, :, None]
        result = mixed(self.kernel, seeds, _KERNEL, lambda name: self._kernel(name, x, y, seeds))
        if self.window is not None and self.window[0] < self.window[1]:
            side = draws.whole(self.window, seeds, _WINDOW, every=2)[:, None, None]
            result = result * (torch.maximum(x.abs(), y.abs()) <= side // 2)
        return result / result.sum(dim=(1, 2), keepdim=True)

    def __call__(self, canvas: Canvas, frame: Frame, seeds: Tensor) -> Canvas:
        """Return all images blurred."""
        kernels = self.kernels(seeds).float()
        pixels = filter2d(canvas.filled(), kernels, border_type="replicate")
        return Canvas(pixels, canvas.sizes)
