"""What a plugin may provide: the whole extension surface, on one page.

A plugin is a module (or any object) named in the entry-point group ``srkit``. It implements
any of the hooks below; each returns a plain mapping from name to factory. A factory is a
callable, or a string ``"package.module:Name"`` that is imported only when that name is asked
for, so that listing names stays cheap. The keyword arguments of a factory are the options of
the part; their names, types and defaults are read from its signature.

Conventions for all parts: images are float32 RGB tensors in [0, 1], shaped ``B3HW``; ``lr``,
``sr`` and ``hr`` are the low-resolution, super-resolved and high-resolution images. A
factory whose signature has ``scale`` is given the recipe's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import pluggy

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image
    from torch import Tensor

    from srkit.inference.model import Model

hookspec = pluggy.HookspecMarker("srkit")
hookimpl = pluggy.HookimplMarker("srkit")

# Raised where something that plugins use is removed, renamed, or wants another argument.
API_VERSION = 1

Factory: TypeAlias = Callable[..., Any] | str
Names: TypeAlias = Mapping[str, Factory]
Point: TypeAlias = tuple[float, float]

# What the signature of a loss, and that of a metric, may ask for by name.
LOSS_INPUTS = ("sr", "hr", "lr", "real", "fake")
METRIC_INPUTS = ("sr", "hr", "lr", "redegraded")


class DiscriminatorOutput(NamedTuple):
    """The output of a discriminator for a batch of images, from one forward pass.

    Attributes:
        logits: Realness before any sigmoid, shape ``B`` or ``B1hw``; higher is realer.
        features: Intermediate activations for feature losses, outermost last; may be empty.
    """

    logits: Tensor
    features: tuple[Tensor, ...] = ()


@runtime_checkable
class Metric(Protocol):
    """Scores each image of a batch on its own.

    It is called by keyword with what its signature asks for: ``sr``, ``hr``, ``lr`` and
    ``redegraded``, which is sr degraded as hr was, with the same noise. Most compare sr
    with hr; those two can be given by position as well.

    Attributes:
        unit: ``"dB"``, or ``""`` for a bare number.
        higher_is_better: Which way is better.
        title: Optional: its heading in tables; the registered name without it.
        missing: Optional: why an image may have no score, which is then not a number. It is left
            out for all methods, and counted.
        embedder: Optional: the embedder that judges; models trained on it are warned of.
    """

    unit: str
    higher_is_better: bool

    def __call__(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return scores, shape ``B``, for ``sr`` and ``hr``, shape ``B3HW`` in [0, 1]."""


@runtime_checkable
class SetMetric(Protocol):
    """Compares a whole set of results with a set of originals, as FID does: one number.

    Attributes:
        unit: ``"dB"``, or ``""`` for a bare number.
        higher_is_better: Which way is better.
        title: Optional: its heading in tables; the registered name without it.
    """

    unit: str
    higher_is_better: bool

    def update(self, sr: Tensor, hr: Tensor) -> None:
        """Take in a batch, ``sr`` and ``hr``, shape ``B3HW`` in [0, 1]."""

    def compute(self) -> float:
        """Return the number for all that was taken in."""


@dataclass(frozen=True)
class Person:
    """One person of a face set: a name and that person's photos in a fixed order."""

    name: str
    photos: tuple[Path, ...]


@dataclass(frozen=True)
class ReadyModel:
    """Weights that can be had by name, or a generator that needs none.

    Attributes:
        description: One line.
        licence: The terms of the weights, as an SPDX id or a short name.
        file: A checkpoint on this disk; None for a generator without weights.
        sha256: Hash of ``file``, checked at load.
        generator: Name of a registered generator, where ``file`` is None.
        options: That generator's options.
        scale: Upscaling factor, checked at load.
        card: The model card, a Markdown file.
        graph: The network as an ONNX graph without weights, by ``.ci/graphs.py``: no torch then.
    """

    description: str
    licence: str
    file: Path | None = None
    sha256: str | None = None
    generator: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: int = 4
    card: Path | None = None
    graph: Path | None = None

    def __post_init__(self) -> None:
        for name in ("file", "card"):
            if isinstance(place := getattr(self, name), str):
                object.__setattr__(self, name, Path(place))
        if (self.file is None) == (self.generator is None):
            raise ValueError("a ReadyModel has a file or a generator, one of the two")


@dataclass(frozen=True)
class Face:
    """A face in an image.

    Attributes:
        box: Left, top, right, bottom in pixels of the image; may reach beyond it.
        probability: The detector's, in [0, 1].
        landmarks: Both eyes, the nose, both corners of the mouth; of each pair, first the one
            that is left in an image of an upright face. Empty where they weren't looked for.
    """

    box: tuple[float, float, float, float]
    probability: float
    landmarks: tuple[Point, ...] = ()


class FaceResult(NamedTuple):
    """A detected face, and whether it was restored.

    Attributes:
        box: As of `Face`.
        probability: The detector's, in [0, 1].
        size: Longer side of the box in pixels.
        restored: Whether it was restored.
        note: Why it was left as it is; empty where it was restored.
    """

    box: tuple[float, float, float, float]
    probability: float
    size: float
    restored: bool
    note: str = ""


class Restorer(Protocol):
    """Restores the faces of an image; pixels are uint8 or uint16."""

    model: Model

    def restore(
        self, lr: np.ndarray, sr: np.ndarray, *, scale: float, skip: Collection[int] = ()
    ) -> list[FaceResult]:
        """Restore the faces of ``lr`` (``hw3``) in its result ``sr`` (``HW3``), in place.

        All faces that were detected are returned, the largest first; ``skip`` are the places among
        them of those to leave as they are.
        """

    def crops(self, lr: np.ndarray) -> list[np.ndarray]:
        """Return the restored faces of an image as squares, ``SS3``, upright."""

    def key(self) -> dict[str, Any]:
        """Return everything that decides a result, except the images, as JSON can hold it."""


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name: Architecture and version; faces that were found are stored under it.
    """

    name: str

    def faces(self, image: Image.Image) -> list[Face]:
        """Return the faces in an image, the largest first; none is an empty list.

        Places are continuous: (0, 0) is the upper left corner, and the first pixel covers
        [0, 1] x [0, 1].
        """


@runtime_checkable
class Source(Protocol):
    """Encoded images in a fixed order. It is picklable, for worker processes."""

    @property
    def held_out(self) -> Source | None:
        """The images of its split for validation, or None."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Path | bytes:
        """Return an image's file, or the bytes of one.

        Raises:
            srkit.InputError: There is none.
        """

    def name(self, number: int) -> str:
        """Return what messages call an image."""

    def identity(self) -> Sequence[str | Path] | None:
        """Return what tells these images from others; None where nothing does.

        A file stands for its path, size and times. Decoded images are found again by it.
        """


@runtime_checkable
class StreamSource(Protocol):
    """Encoded images that can only be read one after another. It is picklable."""

    @property
    def shards(self) -> int:
        """Number of its shards. Each worker reads its own, so there are no more workers."""

    def __iter__(self) -> Iterator[tuple[str, bytes | None]]:
        """Yield (name, encoded image) of every image once; None for one that is missing."""

    def samples(
        self, seed: int, part: int, parts: int, skip: int
    ) -> Iterator[tuple[int, str, bytes | None]]:
        """Yield (epoch, name, encoded image) of one worker's images, epoch after epoch.

        Args:
            seed: Seed that decides their order.
            part: The worker, from 0.
            parts: Number of workers, at most the attribute ``shards``.
            skip: Number of images to leave out at the start: a resumed run has seen them.
        """

    def identity(self) -> Sequence[str]:
        """Return what tells these images from others, as their addresses."""


class Generator(Protocol):
    """What a generator's factory gives: an ``nn.Module`` that obeys this.

    Attributes:
        receptive_radius: How far, in LR pixels, an input pixel can reach in the output;
            None where tiles can only approximate the whole (attention, global pooling).
        symmetries: Optional: what ``upscale --ensemble`` averages over, of ``"mirror"`` and
            ``"rotation"`` (quarter turns); ``("mirror",)`` without it.
        alignment: Optional, 1 if absent: tiles begin at multiples of this many LR pixels. A
            network that halves its input twice says 4.
    """

    receptive_radius: int | None

    def __call__(self, lr: torch.Tensor) -> torch.Tensor:
        """Map ``lr``, ``B3hw`` in [0, 1], to ``sr``, ``B3HW``, H = scale * h."""


class Engine(Protocol):
    """Runs a generator on some kinds of devices.

    Attributes:
        devices: Some of ``"cpu"``, ``"cuda"`` and ``"mps"``, the preferred one first.

    It may have an attribute ``cpu_precisions``, those of ``"bf16"`` and ``"fp16"`` in which it
    computes on this CPU, and ``takes_onnx``, which is true if it runs ``model.onnx()``: then it is
    called only with a model that has an ONNX graph, or is an ONNX file.
    """

    devices: tuple[str, ...]

    def __call__(self, model: Model, device: str) -> Callable[[np.ndarray, str], np.ndarray]:
        """Return what maps lr (``B3hw`` in [0, 1]) to sr (``B3HW``), float32, in a precision.

        It takes any batch, height and width, and ``"fp32"`` besides the precisions that it states.
        sr may leave [0, 1]. ``model.generator`` is the network in torch.

        Raises:
            srkit.InputError: It can't run this model; torch will.
        """


@hookspec
def srkit_generators() -> Names:  # type: ignore[empty-body]
    """Generators: ``factory(*, scale, ...)`` gives an ``nn.Module``, lr (B3hw) to sr (B3HW).

    The module is a `Generator`. sr may leave [0, 1]; it is clamped where it leaves srkit. A factory
    may have an attribute ``small``: options of a network like its default, that is checked sooner.
    """


@hookspec
def srkit_discriminators() -> Names:  # type: ignore[empty-body]
    """Discriminators: ``factory(...)`` gives a module, image (B3HW) to `DiscriminatorOutput`."""


@hookspec
def srkit_losses() -> Names:  # type: ignore[empty-body]
    """Losses: ``factory(...)`` gives a callable that returns a scalar, differentiable in sr.

    It is called by keyword with what its signature asks for: ``sr``, ``hr``, ``lr``, and
    ``real`` and ``fake``, the discriminator's `DiscriminatorOutput` for hr (detached) and sr.

    A loss that compares embeddings has its embedder as the attribute ``embedder``, annotated in its
    class: checkpoints record it, and the bench warns where the same one verifies faces.
    """


@hookspec
def srkit_degradations() -> Names:  # type: ignore[empty-body]
    """Degradations: ``factory(...)`` gives a callable ``(hr, *, seeds) -> lr``.

    ``seeds`` is int64, shape ``B``: one seed an image decides its noise, whatever the batch,
    the order or the device. The result stays on hr's device.
    """


@hookspec
def srkit_metrics() -> Names:  # type: ignore[empty-body]
    """Metrics: ``factory(...)`` gives a `Metric`, sr, and mostly hr, to a score an image."""


@hookspec
def srkit_set_metrics() -> Names:  # type: ignore[empty-body]
    """Metrics of sets: ``factory(...)`` gives a `SetMetric`, one number for all images."""


@hookspec
def srkit_protocols() -> Names:  # type: ignore[empty-body]
    """Protocols of `srkit bench`: ``factory()`` gives the path of a TOML file."""


@hookspec
def srkit_reports() -> Names:  # type: ignore[empty-body]
    """Reports: ``factory(report, folder)`` writes what it makes of a bench into ``folder``.

    ``report`` is what `srkit.bench` returns: ``tables()`` gives its numbers, ``render(index)`` an
    image by every method. ``srkit bench --report`` calls all of them; those of srkit itself write
    ``index.html``, ``figures``, ``report.md`` and the scores as CSV.
    """


@hookspec
def srkit_sources() -> Names:  # type: ignore[empty-body]
    """Sources of training images: ``factory(address)`` gives a `Source` or a `StreamSource`.

    A name says which addresses of ``--data`` and ``--val`` are the factory's. It is what they
    begin with (``"zip:"``), or end in (``".tar"``), or the name of a file that marks a folder as
    the plugin's (``"dataset_dict.json"``). The factory raises `srkit.InputError` with one line for
    the user where there is no such source, or no image in it.
    """


@hookspec
def srkit_pair_checks() -> Names:  # type: ignore[empty-body]
    """Pair checks: ``factory(pairs, scale)`` gives lines on what is wrong with real pairs.

    ``pairs`` is a sequence of (lr, hr) files. ``srkit train --pairs`` shows the lines and goes on.
    """


@hookspec
def srkit_run_reports() -> Names:  # type: ignore[empty-body]
    """Run reports: ``factory(folder)`` writes what it makes of a finished run into its folder.

    ``log.jsonl`` there has a JSON object a line, with the ``step`` it belongs to. An
    `srkit.InputError` is shown, and the run is as good as without the report.
    """


@hookspec
def srkit_detectors() -> Names:  # type: ignore[empty-body]
    """Detectors of faces: ``factory(*, device, min_size, confidence, max_pixels)``.

    It gives a `Detector`. Faces smaller than ``min_size`` pixels need not be found, those of a
    probability below ``confidence`` are left out. ``max_pixels``, or None, bounds the work: a
    larger image is searched in a reduced copy, and small faces in it may be missed.
    """


@hookspec
def srkit_restorers() -> Names:  # type: ignore[empty-body]
    """Restorers of faces: ``factory(*, model, min_size, device)`` gives a `Restorer`.

    ``model`` is a `srkit.Model` of faces, whose scale need not be that of the image's result. Faces
    smaller than ``min_size`` LR pixels are left as they are. A detector computes on ``device``.
    """


@hookspec
def srkit_embedders() -> Names:  # type: ignore[empty-body]
    """Embedders: ``factory(...)`` gives a module, faces (B3HW) to unit embeddings (BD).

    It resizes faces to its own input size, and has attributes ``name`` (architecture and
    weights, as printed beside every figure) and ``sha256`` (of the weights).
    """


@hookspec
def srkit_face_sets() -> Names:  # type: ignore[empty-body]
    """Face sets: ``factory(root)`` reads a folder and gives a sequence of `Person`.

    The factory of a set of few people may have an attribute ``draw``: the size of a sample,
    ``(people, photos)``, whose distances are listed one by one, beside those of all. Without it
    pairs are compared.
    """


@hookspec
def srkit_recipes() -> Names:  # type: ignore[empty-body]
    """Recipes: ``factory()`` gives a complete `srkit.Recipe`."""


@hookspec
def srkit_models() -> Names:  # type: ignore[empty-body]
    """Ready models: ``factory()`` gives a `ReadyModel`."""


@hookspec
def srkit_hubs() -> Names:  # type: ignore[empty-body]
    """Hubs of models: ``factory(address)`` gives a `ReadyModel` of a file on this disk.

    A name is what its addresses begin with (``"hf://"``). The model's description is the address
    of the same file for ever, with its version; the scale is the file's. What isn't there is an
    ``srkit.InputError`` with one line for the user.
    """


@hookspec
def srkit_readers() -> Names:  # type: ignore[empty-body]
    """Readers of foreign checkpoints: ``factory(file)`` gives a generator, or None.

    None says "not one of mine". A file that is clearly the reader's own but can't be used is an
    ``srkit.InputError`` with one line for the user, which is shown if no other reader takes the
    file; any other error is reported, and the next reader asked. Readers never execute a pickle.

    The generator is used as those of `srkit_generators` are: on its device, in channels_last. It
    has attributes ``scale`` and ``receptive_radius``, and may have others that `srkit.Model` then
    has: ``licence`` (the terms of the weights, as their file states them), ``recipe`` (as TOML, if
    srkit trained it) and ``metadata`` (a mapping of names to what JSON can hold: architecture,
    author and the like).
    """


@hookspec
def srkit_engines() -> Names:  # type: ignore[empty-body]
    """Engines: ``factory()`` gives an `Engine`, which runs a loaded model; torch is built in.

    It is called with a `srkit.Model` whose generator is on its device.
    """


def kinds() -> tuple[str, ...]:
    """Return the kinds of parts in the order of this page (``generators``, ``losses``…)."""
    return tuple(name.removeprefix("srkit_") for name in globals() if name.startswith("srkit_"))
