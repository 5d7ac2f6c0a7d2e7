"""Contract checks that a plugin author runs on their own parts.

Each takes a built part, and raises AssertionError with one line that says which promise of
`srkit.hookspecs` is broken. They compute on the CPU with small random images, whose side is
``side``: that of LR for a generator, of HR for others, ``scale`` times that of LR::

    from srkit.testing import check_generator

    def test_espcn():
        check_generator(Espcn(scale=4), scale=4)
"""

from __future__ import annotations

import copy
import math
import pickle
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from srkit.errors import one_line
from srkit.hookspecs import LOSS_INPUTS, METRIC_INPUTS, DiscriminatorOutput
from srkit.options import inputs_of

# Far beyond float32's rounding in any network, far below what one missing pixel changes.
SAME = 1e-4


def _image(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator)


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


def _require_tensor(value: Any, shape: tuple[int, ...], what: str) -> None:
    _require(isinstance(value, Tensor), f"{what} is {type(value).__name__}, not a tensor")
    _require(value.shape == shape, f"{what} has shape {tuple(value.shape)}, not {shape}")
    _require(value.dtype == torch.float32, f"{what} is {value.dtype}, not torch.float32")
    _require(bool(value.isfinite().all()), f"{what} has values that are not finite")


def _require_independent(
    call: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    whole: Tensor,
    what: str,
    atol: float = 1e-6,
) -> None:
    """Require that neither earlier calls nor a batch's other images change ``whole``."""
    again = torch.equal(call(*inputs).nan_to_num(-1), whole.nan_to_num(-1))
    _require(again, f"{what} depends on earlier calls")
    images = zip(*(tensor.split(1) for tensor in inputs), strict=True)
    alone = torch.cat([call(*image) for image in images])
    same = torch.allclose(alone, whole, atol=atol, equal_nan=True)
    _require(same, f"{what} depends on the rest of the batch")


def check_generator(generator: nn.Module, *, scale: int, side: int = 16) -> None:
    """Check a generator: shapes, batch independence, determinism, radius, gradients, weights."""
    _require(isinstance(generator, nn.Module), "a generator is an nn.Module")
    stated = hasattr(generator, "receptive_radius")
    _require(stated, "a generator has an attribute receptive_radius (LR pixels, or None)")
    generator = copy.deepcopy(generator).eval()
    with torch.no_grad():
        for height, width in ((side, side), (side + 1, side - 3)):
            lr = _image(2, 3, height, width)
            sr = generator(lr)
            _require_tensor(sr, (2, 3, height * scale, width * scale), f"sr of {height}x{width}")
        _require_independent(generator, [lr], sr, "in evaluation mode sr", SAME)
    radius: Any = generator.receptive_radius
    if radius is not None:
        whole = isinstance(radius, int) and radius >= 0
        _require(whole, "receptive_radius is a whole number >= 0")
        reach = receptive_radius(generator, scale=scale, least=radius)
        _require(reach <= radius, f"receptive_radius is {radius}, but pixels reach {reach}")
    _check_network(generator, side)


def receptive_radius(generator: nn.Module, *, scale: int, least: int = 16) -> int:
    """Measure how far, in LR pixels, an input pixel can reach in the output.

    By the gradient of one block of ``scale`` x ``scale`` output pixels of a high image and of a
    wide one, in double precision so that distant traces aren't rounded away, at random weights.
    ``least`` is half the long side, less a margin; what reaches further is reported as their sum.
    """
    network = copy.deepcopy(generator).double().eval()
    with torch.no_grad():
        for number, weight in enumerate(network.parameters()):
            # Layers that start at zero (residual networks' last ones) would hide the rest.
            noise = _image(*weight.shape, seed=number).double() - 0.5
            weight.add_(noise * 0.2 / max(1.0, math.sqrt(weight[0].numel())))
    reach = 0
    for half in ((least + 4, 4), (4, least + 4)):
        lr = _image(1, 3, *[2 * n + 1 for n in half]).double().requires_grad_()
        rows, columns = (slice(n * scale, (n + 1) * scale) for n in half)
        network(lr)[..., rows, columns].sum().backward()
        assert lr.grad is not None
        for places, n in zip(lr.grad.abs().sum(dim=(0, 1)).nonzero().T, half, strict=True):
            reach = max(reach, *(places - n).abs().tolist(), 0)
    return reach


def check_discriminator(discriminator: nn.Module, *, side: int = 64) -> None:
    """Check a discriminator: its output's type and shapes, and that it can learn."""
    _require(isinstance(discriminator, nn.Module), "a discriminator is an nn.Module")
    output = discriminator(_image(2, 3, side, side))
    what = f"a srkit.DiscriminatorOutput, not {type(output).__name__}"
    _require(isinstance(output, DiscriminatorOutput), f"a discriminator gives {what}")
    shape = tuple(output.logits.shape)
    whole = shape == (2,) or (len(shape) == 4 and shape[:2] == (2, 1))
    _require(whole, f"logits have shape {shape}, neither B nor B1hw")
    _require(bool(output.logits.isfinite().all()), "logits are not finite")
    _require(isinstance(output.features, tuple), "features are a tuple of tensors")
    for number, feature in enumerate(output.features):
        _require(len(feature) == 2, f"feature {number} has no batch dimension first")
    _check_network(discriminator, side, lambda output: output.logits)


def check_loss(loss: Callable[..., Tensor], *, side: int = 32, scale: int = 4) -> None:
    """Check a loss: what it asks for, that it is a finite scalar, and its gradient at sr."""
    inputs = _inputs(loss, "loss", LOSS_INPUTS)
    hr = _image(2, 3, side, side)
    for kind, sr in (("different", _image(2, 3, side, side, seed=1)), ("equal", hr.clone())):
        sr.requires_grad_()
        tensors = {
            "sr": sr,
            "hr": hr,
            "lr": _image(2, 3, side // scale, side // scale),
            "real": _output(hr),
            "fake": _output(sr),
        }
        value, again = (loss(**{name: tensors[name] for name in inputs}) for _ in range(2))
        _require(isinstance(value, Tensor), f"a loss is a tensor, not {type(value).__name__}")
        _require(torch.equal(again, value), "a loss differs between calls of equal images")
        _require(value.numel() == 1, f"a loss is a scalar, not {tuple(value.shape)}")
        _require(bool(value.isfinite()), f"the loss of {kind} images is not finite")
        _require(value.requires_grad, "the loss has no gradient")
        value.backward()
        if (gradient := sr.grad) is None:
            raise AssertionError("no gradient reaches sr")
        _require(bool(gradient.isfinite().all()), f"the gradient of {kind} images is not finite")
        if kind == "different":
            _require(bool(gradient.abs().sum() > 0), "the gradient at sr is zero")


def _inputs(part: Callable[..., Any], kind: str, known: Sequence[str]) -> frozenset[str]:
    """Return what a part asks for, if it is among what it is called with."""
    inputs = inputs_of(part)
    asks = f"a {kind} is called with {', '.join(known)}, it asks for {', '.join(sorted(inputs))}"
    _require(inputs <= set(known), asks)
    return inputs


def _output(image: Tensor) -> DiscriminatorOutput:
    """Stand in for a discriminator: something differentiable with features."""
    pooled = nn.functional.avg_pool2d(image, 2)
    return DiscriminatorOutput(image.mean(dim=(1, 2, 3)), (pooled,))


def check_degradation(
    degradation: Callable[..., Tensor], *, scale: int = 4, side: int = 64
) -> None:
    """Check a degradation: shape, range, and that an image's seed alone decides its noise."""
    hr = _image(4, 3, side, side)
    seeds = torch.tensor([3, 1, 4, 1 << 40])
    lr = degradation(hr, seeds=seeds)
    _require_tensor(lr, (4, 3, side // scale, side // scale), "lr")
    _require(bool((lr >= 0).all() and (lr <= 1).all()), "lr leaves [0, 1]")
    _require_independent(lambda hr, seeds: degradation(hr, seeds=seeds), [hr, seeds], lr, "lr")


def _asked(inputs: Collection[str], side: int, scale: int, seed: int) -> list[Tensor]:
    """Return what a metric asks for; sr is hr, and redegraded is lr, where ``seed`` is 0."""
    sides = {"sr": side, "hr": side, "lr": side // scale, "redegraded": side // scale}
    seeds = {"sr": seed, "redegraded": seed}
    return [_image(3, 3, sides[n], sides[n], seed=seeds.get(n, 0)) for n in inputs]


def check_metric(metric: Any, *, side: int = 32, scale: int = 4) -> None:
    """Check a metric: attributes, what it asks for, one score an image, equal images best.

    An image may have no score if the metric has an attribute ``missing``, which says why. Where
    images of ``side`` are too small for it, those of 64 and of 256 pixels are taken. What
    asks for sr alone can't know what is equal.
    """
    better = _check_attributes(metric)
    inputs = _inputs(metric, "metric", METRIC_INPUTS)
    _require(bool(inputs), "a metric asks for nothing")

    def scores_of(*tensors: Tensor) -> Any:
        return metric(**dict(zip(inputs, tensors, strict=True)))

    for larger in (64, 256):
        try:
            scores_of(*(tensor[:1] for tensor in _asked(inputs, side, scale, 0)))
        except ValueError:
            side = larger
    different, equal = (_asked(inputs, side, scale, seed) for seed in (1, 0))
    worse, same = scores_of(*different), scores_of(*equal)
    may_miss = bool(getattr(metric, "missing", ""))
    for scores in (worse, same):
        _require(isinstance(scores, Tensor), "a metric gives a tensor")
        _require(scores.shape == (3,), f"scores have shape {tuple(scores.shape)}, not (3,)")
        _require(may_miss or not bool(scores.isnan().any()), "a score is not a number")
    if inputs != {"sr"}:
        best = ((same > worse) == better) | same.isnan() | worse.isnan()
        _require(bool(best.all()), "equal images don't score best")
    _require_independent(scores_of, different, worse, "a score")


# How much of the way from equal sets to different ones the order of images may move a number.
SHARE = 1e-3


def check_set_metric(metric: Any, *, side: int = 32) -> None:
    """Check a metric of sets: attributes, one finite number of all images, equal sets best.

    The number must depend neither on the order of the images nor on how they are divided into
    batches; in both, each sr comes with its hr.
    """
    better = _check_attributes(metric)
    for name in ("update", "compute"):
        _require(callable(getattr(metric, name, None)), f"a metric of sets has a method {name}")
    # No two alike, or batches and order would hardly matter; and sr is another kind of images.
    hr = _image(8, 3, side, side) * torch.linspace(0.3, 1, 8).view(8, 1, 1, 1)
    sr = _image(8, 3, side, side, seed=1) * 0.5
    same = _score_of_set(metric, hr.clone(), hr, 8)
    worse = _score_of_set(metric, sr, hr, 8)
    _require((same > worse) if better else (same < worse), "equal sets don't score best")
    near = SHARE * abs(same - worse)
    order = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    shuffled = _score_of_set(metric, sr[order], hr[order], 8)
    _require(abs(shuffled - worse) <= near, "the number depends on the order of the images")
    divided = _score_of_set(metric, sr, hr, 3)
    _require(abs(divided - worse) <= near, "the number depends on how images come in batches")


def _score_of_set(metric: Any, sr: Tensor, hr: Tensor, batch: int) -> float:
    """Return what a copy of the metric says of these images, ``B3HW``."""
    fresh = copy.deepcopy(metric)
    for some_sr, some_hr in zip(sr.split(batch), hr.split(batch), strict=True):
        fresh.update(some_sr, some_hr)
    value = fresh.compute()
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    _require(number, f"compute gives a float, not {type(value).__name__}")
    _require(not math.isnan(value), "the number is none (NaN)")
    return float(value)


def _check_attributes(metric: Any) -> bool:
    """Check what tables say of a metric; return which way is better."""
    _require(isinstance(getattr(metric, "unit", None), str), "a metric has a text attribute unit")
    better = getattr(metric, "higher_is_better", None)
    _require(isinstance(better, bool), "a metric has an attribute higher_is_better")
    _require(isinstance(getattr(metric, "title", ""), str), "a metric's title is text")
    return bool(better)


def check_embedder(embedder: Any, *, side: int = 64) -> None:
    """Check an embedder: unit length, batch independence, name and sum of its weights."""
    _require(bool(getattr(embedder, "name", "")), "an embedder has a name for tables")
    _require(bool(getattr(embedder, "sha256", "")), "an embedder has the sha256 of its weights")
    faces = _image(2, 3, side, side)
    with torch.no_grad():
        embedding = embedder(faces)
        single = embedding.ndim == 2 and len(embedding) == 2
        _require(single, "embeddings have shape BD, one a face")
        _require(bool(embedding.isfinite().all()), "an embedding is not finite")
        unit = torch.allclose(embedding.norm(dim=1), torch.ones(2), atol=1e-3)
        _require(unit, "embeddings are not of unit length")
        _require_independent(embedder, [faces], embedding, "an embedding", SAME)
        others = embedder(_image(1, 3, side + 3, side - 5))
    _require(others.shape == (1, embedding.shape[1]), "embeddings of another size differ in shape")


def _check_trains(module: nn.Module, images: Tensor, output: Callable[[Any], Tensor]) -> None:
    """Every trainable weight gets a finite gradient in training mode."""
    network = copy.deepcopy(module).train().requires_grad_(True)
    weights = dict(network.named_parameters())
    result = output(network(images))
    if not weights:
        return
    result.square().mean().backward()
    unused = [name for name, weight in weights.items() if weight.grad is None]
    _require(not unused, f"weights get no gradient: {', '.join(unused[:3])}")
    bad = [n for n, w in weights.items() if w.grad is not None and not w.grad.isfinite().all()]
    _require(not bad, f"gradients are not finite: {', '.join(bad[:3])}")


def _check_network(
    module: nn.Module, side: int, output: Callable[[Any], Tensor] = lambda result: result
) -> None:
    """It trains; calls leave no traces; weights, half precision, devices and copies work."""
    images, others = _image(2, 3, side, side), _image(1, 3, side, side, seed=1)
    _check_trains(module, images, output)
    _check_weights(module)
    network = copy.deepcopy(module).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        result = output(network(images))
        network(others)
        after = network.state_dict()
        moved = [name for name, value in before.items() if not torch.equal(value, after[name])]
        _require(not moved, f"in evaluation mode calls change {', '.join(moved[:3])}")
        same = torch.equal(output(network(images)), result)
        _require(same, "in evaluation mode the result depends on earlier calls")
        try:
            with torch.autocast("cpu", torch.bfloat16):
                half = output(network(images[:1]))
        except RuntimeError as error:
            _require(False, f"it fails under bfloat16 autocast: {one_line(error):.200}")
        _require(half.shape == result[:1].shape, "under bfloat16 autocast the shape differs")
        _require(bool(half.isfinite().all()), "under bfloat16 autocast values are not finite")
        try:  # tensors without memory have a device, too
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                tensors = (*network.named_parameters(), *network.named_buffers())
                moved_to = {name: mode.from_tensor(value).to("cuda") for name, value in tensors}
                torch.func.functional_call(network, moved_to, images.to("cuda"))
        except Exception as error:  # some networks need values
            apart = "same device" in str(error)
            why = f"it has tensors that don't move to its device: {one_line(error):.200}"
            _require(not apart, why)
        cls = type(network)
        if getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is not cls:
            return  # a class within a function
        try:
            copied = pickle.loads(pickle.dumps(network))
        except Exception as error:  # of any kind
            if "parametrized" in str(error):  # torch's own limit
                return
            _require(False, f"it can't be pickled: {one_line(error):.200}")
        _require(torch.equal(output(copied(images)), result), "pickling changes the result")


def _check_weights(module: nn.Module) -> None:
    """The state_dict is tensors only and loads back: what a checkpoint needs."""
    state = module.state_dict()
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    _require(not others, f"state_dict holds things that aren't tensors: {', '.join(others[:3])}")
    try:
        copy.deepcopy(module).load_state_dict({k: v.clone() for k, v in state.items()})
    except RuntimeError as error:
        _require(False, f"the state_dict does not load back: {one_line(error)}")
