"""One call from names and folders to a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srkit import data as datasets
from srkit import images, registry
from srkit.bench import identity, quality
from srkit.bench.protocol import Protocol
from srkit.bench.report import Report
from srkit.errors import InputError
from srkit.hookspecs import Person
from srkit.models import DEFAULT_MODEL, load
from srkit.upscale import Model


def bench(
    models: str | Path | Model | Sequence[str | Path | Model] = (),
    *,
    data: str | Path | None = None,
    verify: str | None = None,
    verify_data: str | Path | None = None,
    embedder: str = "facenet",
    embedder_weights: str | Path | None = None,
    framing: str = "squash",
    people: int = 5,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Report:
    """Measure models.

    Args:
        models: One or several: a model, or what `srkit.load` takes; the shipped default if
            none is given.
        data: HR photos for PSNR and SSIM: a folder (its ``test`` split, if it has one) or a
            data set's name. None leaves quality out, unless there is no ``verify`` either:
            then ``celeba``.
        verify: A registered face set (``imm``, ``folders``) for identity distances.
        verify_data: Its folder; a folder of the set's name under ``SRKIT_DATA`` if None.
        embedder: A registered embedder.
        embedder_weights: Its ``weights`` option.
        framing: ``squash`` or ``square``, for quality.
        people: How many people are drawn (the paper: 5); 0 for all.
        limit: Use only the first so many pictures.
        seed: Of noise and draws.
        device: Where models compute.

    Returns:
        Tables and JSON.

    Raises:
        SrkitError: A model, folder or weight file can't be had, or doesn't fit.
    """
    if framing not in ("squash", "square"):
        raise InputError(f"framing is squash or square, not '{framing}'")
    if not 0 <= seed < 2**62:
        raise InputError(f"seed is a whole number from 0 to 2**62, not {seed}")
    if isinstance(models, (str, Path, Model)):
        models = [models]
    # Everything that can be missing is looked for before anything is computed.
    people_found = _people(verify, verify_data) if verify else []
    judge = None
    if verify:
        options = {"weights": str(embedder_weights)} if embedder_weights else {}
        judge = registry.build("embedders", embedder, **options)
    files = _files(data or "celeba", limit) if data or not verify else []
    loaded = [m if isinstance(m, Model) else load(m, device=device) for m in models]
    loaded = loaded or [load(DEFAULT_MODEL, device=device)]

    protocol = Protocol(framing="square" if framing == "square" else "squash", seed=seed)
    scored = quality.measure(loaded, files, protocol) if files else None
    verified = None
    if judge is not None:
        drawn = identity.draw(people_found, people, seed)
        by_face = Protocol(framing="mtcnn", seed=seed, scores="8-bit sr against HR base")
        verified = identity.verify(loaded, drawn, judge, by_face)
    return Report({model.name: model.sha256 for model in loaded}, scored, verified)


def _files(data: str | Path, limit: int | None) -> list[Path]:
    if str(data) == datasets.SAMPLES:
        raise InputError("'samples' are for training; bench wants a folder of photos")
    folder = datasets.locate(data, purpose="photos")
    files = datasets.split_files(folder, "test") or images.listed(folder)
    return files[:limit]


def _people(face_set: str, folder: str | Path | None) -> list[Person]:
    reader = registry.find("face_sets", face_set)
    root = datasets.locate(folder or face_set, purpose=f"face set '{face_set}'")
    return list(reader(root))
