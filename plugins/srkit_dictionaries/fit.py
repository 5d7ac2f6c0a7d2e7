"""What `srkit fit` computes: features, dictionaries and regressions from pairs of patches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad, unfold

from srkit import bicubic
from srkit_dictionaries.generators import PATCH, APlus, Patches, SparseCoding, luma

NEIGHBOURS = 2048  # of an anchor (Timofte et al., 2014, section 3)
RIDGE = 0.1  # lambda, as there
DICTIONARY_FROM = 50_000  # patches from which a dictionary is learned, in one pass
COMPONENTS_FROM = 50_000  # patches from which principal components are taken
CHUNK = 64  # anchors whose neighbours are sought at once

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
Say = Callable[[str], None]


def fit(network: Patches, batches: Batches, count: int, samples: int, seed: int, say: Say) -> None:
    """Fill a network's buffers.

    Args:
        network: `SparseCoding` or `APlus`.
        batches: Yields (lr, hr), ``B3hw`` and ``B3HW``, from the first image, each time anew.
        count: Number of images.
        samples: Patches to learn from, drawn evenly from all images.
        seed: Seed of the draw and of the dictionary.
        say: Called with what begins.
    """
    drawn = np.random.default_rng(seed)
    say("features")
    network.feature_kernels.copy_(_components(network, batches, drawn))
    say("patches")
    features, patches = _pairs(network, batches, count, samples, drawn)
    length = features.norm(dim=1, keepdim=True)
    used = length[:, 0] > length.mean() / 20  # flat ones teach nothing but noise
    features, patches = features[used] / length[used], patches[used] / length[used]
    say(f"dictionary of {len(features):,} patches")
    if isinstance(network, SparseCoding):
        _joint_dictionary(network, features, patches, seed)
    elif isinstance(network, APlus):
        _regressions(network, features, patches, seed)
    else:
        raise TypeError(f"{type(network).__name__} is not fitted")


def _derivatives(scale: int) -> Tensor:
    """First and second derivatives along both axes, ``4 x 1 x (2 scale + 1)^2``."""
    side, middle = 2 * scale + 1, scale
    first, second = torch.zeros(side), torch.zeros(side)
    first[middle - scale // 2], first[middle - scale // 2 + scale] = -1, 1
    second[0], second[middle], second[-1] = 0.5, -1, 0.5
    filters = torch.zeros(4, 1, side, side)
    filters[0, 0, middle], filters[1, 0, :, middle] = first, first
    filters[2, 0, middle], filters[3, 0, :, middle] = second, second
    return filters


def _components(network: Patches, batches: Batches, drawn: np.random.Generator) -> Tensor:
    """Return the kernels of a patch's principal derivatives."""
    scale = network.scale
    filters, side = _derivatives(scale), PATCH * scale
    wanted, rows, drawn_so_far = len(network.feature_kernels), [], 0
    for lr, _ in batches():
        upscaled = luma(bicubic(lr, scale))
        padded = pad(upscaled, (2 * scale,) * 4, mode="replicate")
        columns = unfold(conv2d(padded, filters), side, stride=scale).transpose(1, 2).flatten(0, 1)
        rows.append(columns[_some(len(columns), COMPONENTS_FROM / 20 / len(columns), drawn)])
        drawn_so_far += len(rows[-1])
        if drawn_so_far >= COMPONENTS_FROM:
            break
    data = torch.cat(rows).double()
    vectors = torch.linalg.eigh(data.T @ data / len(data)).eigenvectors.flip(1)[:, :wanted]
    kernels = vectors.T.reshape(wanted, 4, side, side).float()
    # A sum over a patch of derivatives: one larger kernel on the image itself.
    return conv_transpose2d(kernels, filters)


def _pairs(
    network: Patches, batches: Batches, count: int, samples: int, drawn: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return features (NxC) and HR patches less their interpolation (N x pixels)."""
    scale, features, patches = network.scale, [], []
    for lr, hr in batches():
        upscaled = luma(bicubic(lr, scale))
        found = network.features(upscaled).flatten(2).transpose(1, 2).flatten(0, 1)
        missing = pad(luma(hr) - upscaled, (scale,) * 4, mode="replicate")
        columns = unfold(missing, PATCH * scale, stride=scale).transpose(1, 2).flatten(0, 1)
        chosen = _some(len(found), samples / count * len(lr) / len(found), drawn)
        features.append(found[chosen])
        patches.append(columns[chosen])
    return torch.cat(features), torch.cat(patches)


def _some(count: int, share: float, drawn: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.flatnonzero(drawn.random(count) < share))


def _dictionary(data: Tensor, atoms: int, sparsity: float, seed: int) -> Tensor:
    """Learn atoms (atoms x C) from vectors of length 1 (NxC), which are in no order."""
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from sklearn.exceptions import ConvergenceWarning

    learner = MiniBatchDictionaryLearning(
        n_components=atoms,
        alpha=sparsity,
        max_iter=1,
        batch_size=256,
        fit_algorithm="cd",
        transform_max_iter=100,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a code needn't be exact to teach
        learner.fit(data[:: max(1, len(data) // DICTIONARY_FROM)].numpy())
    return torch.from_numpy(learner.components_).float()


def _joint_dictionary(network: SparseCoding, features: Tensor, patches: Tensor, seed: int) -> None:
    """Yang et al., equations 24 and 25: one code for both, each divided by its dimensions."""
    of_lr, of_hr = features.shape[1] ** 0.5, patches.shape[1] ** 0.5
    both = torch.cat([features / of_lr, patches / of_hr], dim=1)
    scale = both.norm(dim=1).mean()
    sparsity = network.sparsity * (1 / of_lr**2 + 1 / of_hr**2) / float(scale)
    atoms = _dictionary(both / scale, len(network.lr_atoms), sparsity, seed)
    lr, hr = atoms[:, : features.shape[1]] * of_lr, atoms[:, features.shape[1] :] * of_hr
    length = lr.norm(dim=1, keepdim=True).clamp(min=1e-6)  # of an atom that went unused, too
    network.lr_atoms.copy_(lr / length)
    network.hr_atoms.copy_(hr / length)
    network.step.fill_(1 / float(torch.linalg.matrix_norm(network.lr_atoms, 2)) ** 2)


def _regressions(network: APlus, features: Tensor, patches: Tensor, seed: int) -> None:
    """A ridge regression over the samples nearest to each anchor (equation 6)."""
    anchors = _dictionary(features, len(network.anchors), 0.1, seed)
    anchors = anchors / anchors.norm(dim=1, keepdim=True).clamp(min=1e-6)
    network.anchors.copy_(anchors)
    ridge = RIDGE * torch.eye(features.shape[1])
    # A fixed number would be a large part of few samples, and no neighbourhood.
    count = min(NEIGHBOURS, max(len(features) // 20, features.shape[1]))
    for start in range(0, len(anchors), CHUNK):
        nearest = (anchors[start : start + CHUNK] @ features.T).abs().topk(count).indices
        for number, rows in enumerate(nearest, start):
            x, y = features[rows], patches[rows]
            network.projections[number] = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
