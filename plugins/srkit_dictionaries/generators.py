"""Sparse coding (Yang et al., 2010) and anchored regression (Timofte et al., 2014).

Both map features of each LR patch to what bicubic interpolation lacks in the HR patch, and average
where patches overlap. Luma only; colour differences are interpolated. `srkit fit` finds the values.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, fold, pad

from srkit import bicubic

PATCH = 3  # LR pixels; neighbours overlap by two
BT601 = (0.299, 0.587, 0.114)


def luma(image: Tensor) -> Tensor:
    """Return BT.601's luma of RGB, ``B3hw`` -> ``B1hw``, in full range."""
    weights = torch.tensor(BT601, dtype=image.dtype, device=image.device)
    return torch.einsum("bchw,c->bhw", image, weights)[:, None]


class Patches(nn.Module):
    """What both methods share: features in, HR patches out.

    The features are first and second derivatives of the interpolated image over a patch (Yang et
    al., 2010, section III-C), reduced by principal components (Zeyde et al., 2010): together one
    convolution with a stride of a pixel of LR.

    Args:
        scale: Upscaling factor.
        components: Features of a patch.
    """

    receptive_radius = 6  # 2 of interpolation, 1 of derivatives, 1 to a patch's edge, 2 over it
    feature_kernels: Tensor

    def __init__(self, *, scale: int, components: int) -> None:
        most = 4 * (PATCH * scale) ** 2
        if not 1 <= components <= most:
            raise ValueError(f"components are 1 to {most}, as many as a patch has derivatives")
        super().__init__()
        self.scale = scale
        side = (PATCH + 2) * scale
        self.register_buffer("feature_kernels", torch.zeros(components, 1, side, side))

    def forward(self, lr: Tensor) -> Tensor:
        """Map ``lr`` (B3hw in [0, 1]) to ``sr`` (B3HW); may leave [0, 1]."""
        upscaled = bicubic(lr, self.scale)
        features = self.features(luma(upscaled))
        batch, components, height, width = features.shape
        patches = self.regress(features.permute(0, 2, 3, 1).reshape(-1, components))
        columns = patches.reshape(batch, height * width, -1).transpose(1, 2)
        return upscaled + self.joined(columns, height, width)

    def features(self, upscaled: Tensor) -> Tensor:
        """Map interpolated luma (B1HW) to features of the patch at each LR pixel (BChw)."""
        edge = 2 * self.scale
        padded = pad(upscaled, (edge, edge, edge, edge), mode="replicate")
        return conv2d(padded, self.feature_kernels, stride=self.scale)

    def joined(self, columns: Tensor, height: int, width: int) -> Tensor:
        """Average overlapping HR patches (B x pixels x patches) to an image (B1HW)."""
        scale = self.scale
        size = ((height + PATCH - 1) * scale, (width + PATCH - 1) * scale)
        total = fold(columns, size, PATCH * scale, stride=scale)
        count = fold(torch.ones_like(columns[:1]), size, PATCH * scale, stride=scale)
        image: Tensor = (total / count)[..., scale:-scale, scale:-scale]
        return image

    def regress(self, features: Tensor) -> Tensor:
        """Map features (NxC) to HR patches less their interpolation (N x pixels)."""
        raise NotImplementedError


class SparseCoding(Patches):
    """Sparse coding with two dictionaries that share their codes.

    Yang, Wright, Huang and Ma (2010), "Image Super-Resolution via Sparse Representation", equations
    5 to 8, by the iterations of FISTA (Beck and Teboulle, 2009), with the features of Zeyde et al.
    (2010). Without equation 11: back-projection would bring an input's noise back.

    Args:
        scale: Upscaling factor.
        atoms: Entries of each dictionary.
        components: Features of a patch.
        sparsity: Weight of the codes' absolute values, for features of length 1.
        iterations: Iterations for the codes.
    """

    small: ClassVar[dict[str, object]] = {"atoms": 32, "components": 8, "iterations": 5}
    lr_atoms: Tensor
    hr_atoms: Tensor
    step: Tensor

    def __init__(
        self,
        *,
        scale: int = 4,
        atoms: int = 1024,
        components: int = 32,
        sparsity: float = 0.1,
        iterations: int = 40,
    ) -> None:
        super().__init__(scale=scale, components=components)
        if atoms < 1 or iterations < 1 or sparsity < 0:
            raise ValueError("atoms and iterations are 1 or more, sparsity 0 or more")
        self.sparsity, self.iterations = sparsity, iterations
        self.register_buffer("lr_atoms", torch.zeros(atoms, components))
        self.register_buffer("hr_atoms", torch.zeros(atoms, (PATCH * scale) ** 2))
        self.register_buffer("step", torch.ones(()))  # 1 / the largest eigenvalue of their products

    def codes(self, features: Tensor) -> Tensor:
        """Map features of length 1 (NxC) to sparse codes (N x atoms)."""
        threshold = self.step * self.sparsity
        # len() would fix the number of patches where the network is exported.
        code = ahead = features.new_zeros(features.shape[0], self.lr_atoms.shape[0])
        momentum = 1.0
        for _ in range(self.iterations):
            error = ahead @ self.lr_atoms - features
            moved = ahead - self.step * (error @ self.lr_atoms.T)
            before, code = code, moved.sign() * (moved.abs() - threshold).clamp(min=0)
            following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead = code + (momentum - 1) / following * (code - before)
            momentum = following
        return code

    def regress(self, features: Tensor) -> Tensor:
        """Map features (NxC) to HR patches less their interpolation (N x pixels)."""
        length = features.norm(dim=1, keepdim=True)
        patches: Tensor = self.codes(features / length.clamp(min=1e-6)) @ self.hr_atoms * length
        return patches


class APlus(Patches):
    """A+: a ridge regression for the neighbourhood of each atom.

    Timofte, De Smet and Van Gool (2014), "A+: Adjusted Anchored Neighborhood Regression for Fast
    Super-Resolution", section 3.

    Args:
        scale: Upscaling factor.
        atoms: Anchors.
        components: Features of a patch.
    """

    small: ClassVar[dict[str, object]] = {"atoms": 32, "components": 8}
    anchors: Tensor
    projections: Tensor

    def __init__(self, *, scale: int = 4, atoms: int = 1024, components: int = 32) -> None:
        super().__init__(scale=scale, components=components)
        if atoms < 1:
            raise ValueError("atoms are 1 or more")
        pixels = (PATCH * scale) ** 2
        self.register_buffer("anchors", torch.zeros(atoms, components))
        self.register_buffer("projections", torch.zeros(atoms, components, pixels))

    def regress(self, features: Tensor) -> Tensor:
        """Map features (NxC) to HR patches less their interpolation (N x pixels)."""
        nearest = (features @ self.anchors.T).abs().argmax(dim=1)
        return torch.einsum("nc,ncp->np", features, self.projections[nearest])
