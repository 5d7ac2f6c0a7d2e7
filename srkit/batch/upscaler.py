"""Image files in memory: what `srkit upscale` would write of them."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from srkit import defaults
from srkit.batch.jobs import Job, writable_suffix
from srkit.batch.run import Event, Files, events
from srkit.batch.work import Work
from srkit.imaging import formats
from srkit.inference.model import Progress, Settings


class Upscaler:
    """``srkit upscale`` for image files in memory; results have the same bytes.

    Args:
        model: As ``--model``; others as the options of their names.
        scale: Scale of the results; the model's if None.
        faces: Find faces, and restore them.
        suffix: Format of the results, such as ``png``; the input's if None.
        device: Where to compute.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        engine: ``auto``, ``torch``, or one of a plugin.

    Raises:
        SrkitError: No such model, device, format or engine.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        scale: float | None = None,
        faces: bool = False,
        suffix: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
    ) -> None:
        self._suffix = formats.suffix_named(suffix) if suffix else None
        self._work = Work.load(
            model,
            Settings(scale),
            face_model=defaults.MODEL if faces else None,
            device=device,
            precision=precision,
            engine=engine,
        )

    def key(self) -> dict[str, Any]:
        """Return all that decides a result, but for the input, as JSON can hold it."""
        return {**self._work.key(), "format": self._suffix}

    @property
    def scale(self) -> float:
        """Scale of the results."""
        return self._work.settings.scale or self._work.model.scale

    def __call__(
        self,
        files: Iterable[tuple[str, bytes]],
        *,
        progress: Progress = lambda images: None,
        skip_faces: Collection[int] = (),
    ) -> Generator[Event]:
        """Yield each file's outcome, in order: ``encoded``, or in one line an ``error``.

        ``files`` are names, as messages call them, and contents; they are taken a little ahead.
        ``progress`` is called with the images done since its last call, a fraction; what it raises
        ends the work. ``skip_faces`` are left as they are, by their places in ``result.detected``.
        """
        jobs = (self._job(Path(name), encoded) for name, encoded in files)
        return events(jobs, Files(replace(self._work, skip_faces=skip_faces)), progress)

    def _job(self, name: Path, encoded: bytes) -> Job:
        output = name.with_suffix(self._suffix or writable_suffix(name))
        return Job(name, output, encoded=encoded, piped=True)
