"""One call from names and folders to a report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srkit import defaults, registry
from srkit.data import sources
from srkit.errors import InputError, is_in_shell, option
from srkit.evaluation.identity.distances import distances, with_bases
from srkit.evaluation.identity.embed import ALIGNED, Verifier, degraded
from srkit.evaluation.identity.faces import Finder
from srkit.evaluation.identity.pairs import LR_SIZES, PAIRS, SIZE_PAIRS, pairs
from srkit.evaluation.identity.people import draw, draw_pairs, without_copies
from srkit.evaluation.measure import BATCH, Progress, measure, rendered
from srkit.evaluation.methods import BICUBIC, REFERENCES, Method, from_results, methods
from srkit.evaluation.overlap import embedder_overlap, photos_trained_on
from srkit.evaluation.protocol import DEFAULT, Protocol
from srkit.evaluation.report import Report
from srkit.evaluation.store import Store, default_store
from srkit.files import lock
from srkit.hookspecs import Person
from srkit.imaging import codec
from srkit.inference.device import device_named
from srkit.inference.model import Model
from srkit.models.load import DEFAULT_MODEL, load
from srkit.progress import Bars

PARTIAL = "partial.sqlite"  # in a report's folder until the report is written
PHOTOS = 3  # a base and two probes, as in section IV-B

ModelLike = str | Path | nn.Module | Model | Method


@dataclass(frozen=True)
class FaceSet:
    """A face set, and what is measured on it.

    Attributes:
        people: Everybody.
        drawn: Those of the table of distances, with the photos drawn of each.
        everybody: Whether the distances of everybody are measured as well.
        pairs: Number of same pairs drawn.
        lr_sizes: Sides of LR, in pixels, for the curve over sizes.
        warnings: What a reader must know.
    """

    people: list[Person]
    drawn: list[Person]
    everybody: bool
    pairs: int
    lr_sizes: Sequence[int]
    warnings: Sequence[str] = ()


def bench(
    models: ModelLike | Sequence[ModelLike] = (),
    *,
    data: str | Path | None = None,
    protocol: str | Path | Protocol = DEFAULT,
    limit: int | None = None,
    verify: str | None = None,
    verify_data: str | Path | None = None,
    embedder: str | Sequence[str] = defaults.EMBEDDER,
    embedder_weights: str | Path | Mapping[str, str | Path] | None = None,
    align: str = "hr",
    people: int | None = None,
    pairs: int | None = None,
    lr_sizes: Sequence[int] = LR_SIZES,
    results: Mapping[str, str | Path] | None = None,
    report: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int = BATCH,
    command: str = "",
    progress: Progress | None = None,
) -> Report:
    """Measure models.

    Args:
        models: One or several: a model, a network of the protocol's scale, or what `srkit.load`
            takes; the shipped default if there are neither these nor ``results``.
        data: HR photos for quality: a folder (its ``test`` split, if it has one) or a data set's
            name. None leaves quality out, unless there is no ``verify`` either: then ``celeba``.
        protocol: A registered name, a TOML file, or a `Protocol`.
        limit: Use only the first ``limit`` images.
        verify: A registered face set for identity: ``imm``, ``lfw``, ``folders``, ``csv``.
        verify_data: Its folder or file; a folder of its name under ``SRKIT_DATA`` if None.
        embedder: A registered embedder, or several that judge the same faces.
        embedder_weights: The embedder's ``weights`` option; of several, by name.
        align: ``hr``: the crop is made once, on the HR photo; ``sr``: anew on each result;
            ``celeba``: probes show what CelebA's aligned images do, as the protocol frames them,
            and faces are cropped out of the results.
        people: Number of people sampled for the table of distances; the face set's own number if
            None (the paper: 5), 0 for the table of everybody alone.
        pairs: Number of genuine pairs sampled; if None 1,000, and none of a set of few people, such
            as ``imm``.
        lr_sizes: Sides of LR, in pixels, for the verification curve over sizes.
        results: Results of other programs, name to folder; "Measuring", "Other programs".
        report: Folder for the page, the figures, the JSON and the scores. A bench that was killed
            goes on from what it left there.
        device: Where models compute.
        precision: In which those compute that are loaded here; see `srkit.load`.
        batch_size: Images upscaled at once.
        command: The command that repeats it, for the page.
        progress: Called with what is done, how much, and of how much. None: bars on a terminal or
            in a notebook.

    Returns:
        Everything measured; it makes the tables and the JSON.

    Raises:
        SrkitError: A model, folder or weight file can't be had, or doesn't fit.
    """
    start = time.perf_counter()
    # Everything that can be missing is looked for before anything is computed.
    protocol = Protocol.named(protocol)
    if align not in ALIGNED:
        raise InputError(f"align is {', '.join(ALIGNED)}, not '{align}'")
    framed = protocol.for_faces(align if verify else "hr")
    faces = face_set(verify, verify_data, protocol, people, pairs, lr_sizes) if verify else None
    embedders = _embedders(embedder, embedder_weights, device) if faces else {}
    files = photos(data or "celeba", limit) if data or not faces else []
    models = [models] if isinstance(models, ModelLike) else models
    models = models or ([] if results else [DEFAULT_MODEL])
    loaded = load_models(models, device, protocol.scale, precision)
    others = [from_results(n, Path(f), protocol.scale) for n, f in (results or {}).items()]
    compared = methods([*loaded, *others], protocol)
    own = [model for model in loaded if isinstance(model, Model)]
    folder = Path(report) if report else None
    parts: dict[str, Any] = {}
    used, judges, warnings = [*files], list[Any](), list[str]()
    with lock(folder) if folder else nullcontext(), Bars(lines=is_in_shell()) as bars:
        options: dict[str, Any] = {"batch_size": batch_size, "progress": progress or bars}
        unfinished = Store(folder / PARTIAL if folder else None)
        if files:
            on = device_named(device)
            quality = measure(compared, files, protocol, partial=unfinished, device=on, **options)
            render = partial(rendered, quality, compared, files, protocol)
            parts |= {"quality": quality, "render": render}
            about = (m["embedder"] for m in quality.metrics.values() if "embedder" in m)
            judges += [SimpleNamespace(**embedder) for embedder in about]
        if faces:
            # Of the interpolations bicubic is enough, unless others are named: they say the same.
            shown = {BICUBIC, *(model.name for model in loaded)}
            rows = [m for m in compared if m.name in shown or m.name not in REFERENCES]
            store = default_store()
            (_, first), *further = embedders.items()
            options |= {"align": align, "keep": bool(further)}
            verifier = Verifier(rows, first, framed, store, **options)
            parts |= _verify(verifier, faces)
            parts["judges"] = {
                name: Report(**_verify(verifier.judged_by(other), faces)) for name, other in further
            }
            used += sorted(verifier.photos)
            judges += embedders.values()
            warnings += [*faces.warnings, *verifier.finder.warnings()]
        warnings += dict.fromkeys(line for judge in judges for line in embedder_overlap(own, judge))
        counts = photos_trained_on(own, used)
        seen = [
            f"{name} was TRAINED ON {count} of these {len(used)} photos: its figures say little of "
            "others"
            for name, count in counts.items()
            if count
        ]
        unknown = [model.name for model in own if model.sha256 and model.name not in counts]
        if files:
            quality.notes.extend(sources.notes_on(data or "celeba"))
        if files and unknown:
            quality.notes.append(
                f"whether it was trained on these images isn't known: {', '.join(unknown)}"
            )
        result = Report(
            {method.name: _about(method, counts) for method in compared},
            **parts,
            warnings=[*seen, *warnings],
            run={
                "command": command,
                "seconds": round(time.perf_counter() - start, 1),
                "machine": machine(device),
            },
        )
        if folder:
            result.publish(folder)
        unfinished.delete()
    return result


def lr_images(
    *,
    data: str | Path | None = None,
    protocol: str | Path | Protocol = DEFAULT,
    limit: int | None = None,
    verify: str | None = None,
    verify_data: str | Path | None = None,
    people: int | None = None,
    pairs: int | None = None,
    lr_sizes: Sequence[int] = LR_SIZES,
    align: str = "hr",
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield every LR image that `bench` would upscale, uint8, ``hw3``, after its photo.

    Raises:
        SrkitError: See `bench`.
    """
    protocol = Protocol.named(protocol)
    faces = face_set(verify, verify_data, protocol, people, pairs, lr_sizes) if verify else None
    files = photos(data or "celeba", limit) if data or not faces else []
    lr = (([file], protocol.degrade(protocol.hr(file))) for file in files)
    for of, images in chain(lr, _lr_faces(faces, protocol.for_faces(align)) if faces else ()):
        yield from zip(of, codec.to_uint8(images).permute(0, 2, 3, 1).numpy(), strict=True)


def face_set(
    name: str,
    data: str | Path | None,
    protocol: Protocol,
    people: int | None = None,
    pairs: int | None = None,
    lr_sizes: Sequence[int] = LR_SIZES,
) -> FaceSet:
    """Read a face set and draw from it by the protocol's seed; see `bench`.

    Raises:
        InputError: It isn't there, or is empty, or an option makes no sense.
    """
    registry.offer("face_sets", name)  # a misspelt name comes before a folder that isn't there
    place = Path(data or name)
    root = place if place.is_file() else sources.locate(place, purpose=f"face set '{name}'")
    people_of_it = registry.call("face_sets", name, root)
    with registry.blamed("face_sets", name):
        if not all(isinstance(person, Person) for person in people_of_it):
            raise TypeError("not every member is a srkit.Person")
    everybody, warnings = without_copies(people_of_it)
    own_draw: tuple[int, int] | None = getattr(registry.find("face_sets", name), "draw", None)
    count, photos_each = own_draw or (0, PHOTOS)
    count = count if people is None else people
    drawn = draw(everybody, count, photos_each, protocol.seed) if count else []
    pairs = (0 if own_draw else PAIRS) if pairs is None else pairs
    if pairs == 1:
        raise InputError("one pair has no other person to compare with; take two or more")
    if not (drawn or own_draw or pairs):
        raise InputError("no pairs and no people: nothing to verify")
    return FaceSet(everybody, drawn, own_draw is not None, pairs, lr_sizes, warnings)


def photos(data: str | Path, limit: int | None = None) -> list[Path]:
    """Return a data set's test images, or a folder's images, by name.

    Raises:
        InputError: There is no such folder, or no image in it.
    """
    if str(data) == sources.SAMPLES:
        raise InputError("'samples' are for training; bench needs a folder of photos")
    folder = sources.locate(data, purpose="photos")
    return (sources.split_files(folder, "test") or codec.listed(folder))[:limit]


def machine(device: str = "auto") -> dict[str, Any]:
    """Return what times depend on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(device_named(device)),
        "system": platform.system(),
    }


def load_models(
    models: Sequence[ModelLike], device: str, scale: int, precision: str = "fp32"
) -> list[Model | Method]:
    """Load what is named; a model that was given keeps its own precision."""
    networks = [
        Model(type(m).__name__, m, scale) if isinstance(m, nn.Module) else m for m in models
    ]
    return [
        m if isinstance(m, Model | Method) else load(m, device=device, precision=precision)
        for m in networks
    ]


def _embedders(
    names: str | Sequence[str], weights: str | Path | Mapping[str, str | Path] | None, device: str
) -> dict[str, Any]:
    """Build embedders, by name.

    Raises:
        SrkitError: One can't be had, or is named twice, or it isn't clear whose the weights are.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names or len(set(names)) < len(names):
        raise InputError(f"{option('embedder')}: {'one is named twice' if names else 'none'}")
    files = weights if isinstance(weights, Mapping) else {names[0]: weights} if weights else {}
    if files is not weights and len(names) > 1 and files:
        raise InputError(f"{option('embedder-weights')} of several: by name, {names[0]}=FILE")
    if unknown := sorted({*files} - {*names}):
        raise InputError(f"{option('embedder-weights')}: '{unknown[0]}' is none of the embedders")
    options = {name: {"weights": str(file)} for name, file in files.items()}
    built = {name: registry.build("embedders", name, **options.get(name, {})) for name in names}
    return {name: embedder.to(device_named(device)) for name, embedder in built.items()}


def _about(method: Method, trained_on: Mapping[str, int]) -> dict[str, Any]:
    about = {
        k: method.metadata[k]
        for k in ("provider", "step", "source", "engine", "recipe", "recipe_sha256", "seed")
        if k in method.metadata
    }
    if method.sha256 and method.timed:
        about["trained_on"] = trained_on.get(method.name, "not known")
    return {"sha256": method.sha256, "licence": method.licence, **about}


def _verify(verifier: Verifier, faces: FaceSet) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if faces.drawn:
        parts["distances"] = distances(verifier, faces.drawn, base="drawn")
    if faces.everybody:
        parts["everybody"] = distances(verifier, faces.people)
    if faces.pairs:
        parts["pairs"] = pairs(verifier, faces.people, count=faces.pairs, lr_sizes=faces.lr_sizes)
    return parts


def _lr_faces(faces: FaceSet, protocol: Protocol) -> Iterator[tuple[list[Path], Tensor]]:
    finder = Finder(default_store())
    groups = [faces.drawn, faces.people if faces.everybody else []]
    probes = [(with_bases(people, finder)[0].probes, protocol.size) for people in groups if people]
    if faces.pairs:
        drawn = draw_pairs(faces.people, faces.pairs, protocol.seed, finder)
        probes.append((drawn.probes, protocol.size))
        fewer = drawn.first(SIZE_PAIRS).probes
        probes += [(fewer, lr_size * protocol.scale) for lr_size in faces.lr_sizes]
    for located, size in probes:
        crops = finder.crops(located, size, protocol.framing)
        yield [one.photo for one in located], degraded(crops, protocol)
