"""FID and KID on torch-fidelity's InceptionV3: distances between two sets of images.

srkit's tests verify how images get into these and out of them, on random weights, but not their
values: the pretrained network was not to be had where srkit was written. The Fréchet distance
itself is verified against torch-fidelity's.
"""

from __future__ import annotations

import io
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from srkit import InputError
from srkit_perceptual.weights import Weights, find

LAYER = "2048"  # the last pooling
AT_A_TIME = 32  # images; each is resized to 299x299


def inception(metric: str, weights: str) -> tuple[Any, Weights]:
    """Return torch-fidelity's InceptionV3 and its weights; see `find`."""
    pretrained = find(metric, URL_INCEPTION_V3, weights)
    # torch-fidelity would unpickle the file itself, with whatever code is in it.
    tensors = io.BytesIO()
    torch.save(pretrained.state, tensors)
    tensors.seek(0)
    try:
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", [LAYER], feature_extractor_weights_path=tensors
        )
    except RuntimeError as error:
        raise pretrained.misfit(error) from error
    return network, pretrained


def frechet(a: Tensor, b: Tensor) -> float:
    """Return the Fréchet distance between Gaussians fitted to two sets of features, ``ND``.

    ``|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))``. With A = X'X of the centred features X
    (divided by the root of N - 1) and B = Y'Y, the last trace is the sum of the singular values of
    XY'. That needs no root of a singular matrix, which fewer images than features make it be.
    """
    means, roots = [], []
    for each in (a.double(), b.double()):
        means.append(each.mean(dim=0))
        centred = (each - means[-1]) / (len(each) - 1) ** 0.5
        # Of many images, the triangle has the same X'X and is smaller.
        tall = len(each) > each.shape[1]
        roots.append(torch.linalg.qr(centred, mode="r").R if tall else centred)
    x, y = roots
    common = torch.linalg.matrix_norm(x @ y.T, ord="nuc")
    spread = x.square().sum() + y.square().sum() - 2 * common
    return float((means[0] - means[1]).square().sum() + spread)


class SetMetric:
    """A distance between features of all sr and of all hr: lower is better.

    Features are kept on the CPU, 16 KB a pair. They are put into an order of the images' own
    before anything is computed, so that the order they came in changes nothing.
    """

    unit, higher_is_better, title = "", False, ""

    def __init__(self, *, weights: str = "") -> None:
        self.network, pretrained = inception(self.title.lower(), weights)
        self.name = f"{self.title} (InceptionV3, {pretrained.file.stem})"
        self.sha256 = pretrained.sha256
        self._pairs: list[tuple[bytes, Tensor, Tensor]] = []

    def features(self, images: Tensor) -> Tensor:
        """Return features, ``BD``, on the CPU, of 8-bit images, ``B3HW``."""
        network = self.network.to(images.device)
        return torch.cat([network(part)[0] for part in images.split(AT_A_TIME)]).cpu()

    @torch.no_grad()
    def update(self, sr: Tensor, hr: Tensor) -> None:
        """Take in a batch, ``B3HW`` in [0, 1]; both are rounded to 8 bits."""
        if sr.shape != hr.shape:
            raise ValueError(f"sr {tuple(sr.shape)} and hr {tuple(hr.shape)} differ in shape")
        results, originals = (x.clamp(0, 1).mul(255).round().to(torch.uint8) for x in (sr, hr))
        # By hr first: then the draws of KID fall on the same images, whatever made sr.
        pairs = zip(originals.cpu().numpy(), results.cpu().numpy(), strict=True)
        keys = [b"".join(sha256(each.tobytes()).digest() for each in pair) for pair in pairs]
        both = self.features(results), self.features(originals)
        self._pairs += zip(keys, *both, strict=True)

    def _sets(self) -> tuple[Tensor, Tensor]:
        """Return the features of all sr and of all hr, two or more."""
        if len(self._pairs) < 2:
            raise InputError(f"{self.title.lower()} compares sets: it needs 2 images or more")
        pairs = sorted(self._pairs, key=lambda pair: pair[0])
        return torch.stack([sr for _, sr, _ in pairs]), torch.stack([hr for _, _, hr in pairs])


class Fid(SetMetric):
    """FID (Heusel et al., 2017) on torch-fidelity's InceptionV3; lower is better.

    The Fréchet distance between Gaussians fitted to 2048 features of each set. It is biased
    upwards on few images, and by how much depends on the model: below some thousands, compare
    nothing but the same number of the same images, or use KID. The weights
    (``weights-inception-2015-12-05-6726825d.pth``) are looked for in torch.hub's folder and never
    downloaded.

    Args:
        weights: A file of the network's weights in place of that one.
    """

    title = "FID"

    def compute(self) -> float:
        """Return the distance for all images taken in, two or more."""
        return frechet(*self._sets())


class Kid(SetMetric):
    """KID (Bińkowski et al., 2018) on torch-fidelity's InceptionV3; lower is better.

    The squared maximum mean discrepancy under the kernel (x'y / 2048 + 1)^3, by its unbiased
    estimate, which may be a little below 0. Sets of up to ``subset_size`` images are compared
    whole; of larger ones, the mean over ``subsets`` seeded draws is taken, without replacement
    within a draw, and draws are the same for all models. Weights: as for `Fid`.

    Args:
        weights: A file of the network's weights in place of that one.
        subset_size: Images of each set in a draw, 2 or more.
        subsets: Number of draws.
        seed: Seed of the draws.
    """

    title = "KID"

    def __init__(
        self, *, weights: str = "", subset_size: int = 1000, subsets: int = 100, seed: int = 0
    ) -> None:
        if subset_size < 2 or subsets < 1:
            raise ValueError("subset_size must be 2 or more, and subsets 1 or more")
        super().__init__(weights=weights)
        self.subset_size, self.subsets, self.seed = subset_size, subsets, seed

    def compute(self) -> float:
        """Return the discrepancy for all images taken in, two or more."""
        sr, hr = self._sets()
        whole = len(sr) <= self.subset_size
        scores = kid_features_to_metric(
            sr.double(),
            hr.double(),
            kid_subset_size=len(sr) if whole else self.subset_size,
            kid_subsets=1 if whole else self.subsets,
            rng_seed=self.seed,
            verbose=False,
        )
        return float(scores[KEY_METRIC_KID_MEAN])
