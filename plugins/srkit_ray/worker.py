"""One shard -> its result and its manifest, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import platform
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srkit import SrkitError, Upscaler
from srkit.errors import InputError, one_line
from srkit.files import atomic, sha256, sweep
from srkit_ray.plan import SETTINGS, Shard, Summary
from srkit_ray.shards import Sample, samples, writer


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    images: int = 0  # in its result
    failed: int = 0  # that aren't, and are named by the manifest
    error: str = ""  # why there is no result, in one line


class Worker:
    """Writes to a folder, ``.tar`` or ``.parquet``, one shard after the other."""

    def __init__(self, out: str, suffix: str, column: str | None, options: dict[str, Any]) -> None:
        self.out, self.suffix, self.column, self.options = Path(out), suffix, column, options

    def start(self) -> dict[str, Any]:
        """Load the model; return what decides a result, or why there can be none."""
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd files: users can't mend them
        sweep(self.out, below=True)  # what killed workers of this machine have left
        try:
            self.upscaler = Upscaler(**self.options)
            return {"key": self.upscaler.key(), "host": platform.node()}
        except SrkitError as error:
            return {"error": one_line(error)}

    def do(self, shard: Shard) -> Outcome:
        """Write a shard's result and manifest."""
        try:
            if not (self.out / SETTINGS).is_file():
                where = f"{self.out} on {platform.node()}"
                raise InputError(f"no {SETTINGS} in {where}: choose a folder that all machines see")
            return self._do(shard)
        except SrkitError as error:
            return Outcome(error=one_line(error))
        except OSError as error:
            return Outcome(error=f"can't write {self.out / shard.name}: {one_line(error)}")

    def _do(self, shard: Shard) -> Outcome:
        result, manifest = (self.out / f"{shard.name}{each}" for each in (self.suffix, ".jsonl"))
        images = failed = 0
        manifest.unlink(missing_ok=True)  # of another input
        # The manifest comes last: with it the shard is done.
        with atomic(manifest) as notes, notes.open("w", encoding="utf-8") as lines:
            with atomic(result) as temporary:
                with writer(temporary, self.suffix, shard, self.column) as written:
                    for line in self._lines(shard, written):
                        lines.write(json.dumps(line) + "\n")
                        images, failed = images + ("name" in line), failed + ("error" in line)
                last = Summary(
                    shard=result.relative_to(self.out).as_posix(),
                    bytes=temporary.stat().st_size,
                    sha256=sha256(temporary),
                    images=images,
                    failed=failed,
                    input=shard.state,
                )
            lines.write(json.dumps(last) + "\n")
        return Outcome(images, failed)

    def _lines(self, shard: Shard, written: Any) -> Iterator[dict[str, Any]]:
        """Write a shard's samples, in order; yield the manifest's lines."""
        waiting: deque[Sample] = deque()

        def images() -> Iterator[tuple[str, bytes]]:
            for sample in samples(shard, self.column):
                waiting.append(sample)
                if not sample.error:
                    yield sample.label, sample.image
                    sample.image = b""  # the next one's turn: it has been decoded

        def failures() -> Iterator[dict[str, Any]]:
            while waiting and waiting[0].error:
                sample = waiting.popleft()
                yield {"input": sample.label, "error": sample.error}

        for event in self.upscaler(images()):
            yield from failures()
            sample = waiting.popleft()
            if event.error:
                yield {"input": sample.label, "error": event.error}
                continue
            name = written.add(sample, event.encoded, event.job.output.suffix)
            line: dict[str, Any] = {"name": name, "input": sample.label}
            line["sha256"] = hashlib.sha256(event.encoded).hexdigest()
            notes = event.result.notes if event.result else ()
            yield line | ({"notes": list(notes)} if notes else {})
        yield from failures()
