"""Output of `srkit upscale`: for people on both streams, or for programs as JSON on one."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from srkit.errors import InputError, escaped
from srkit.lines import failures, show, show_error
from srkit.progress import Bars

if TYPE_CHECKING:
    from pathlib import Path

    from srkit.batch.jobs import Job, Shard
    from srkit.batch.run import Event
    from srkit.batch.work import Result, Work

INTERVAL = 1.0  # seconds between two lines of progress for programs


@dataclass
class Reporter:
    """Reports on a batch."""

    work: Work  # what is done to each image
    shard: Shard  # whose part it is
    jobs: int  # images in all
    as_json: bool  # for programs
    console: Console = field(default_factory=lambda: Console(stderr=True))  # for people
    shown: set[str] = field(default_factory=set)  # notes that needn't be repeated

    def begin(self, *, general: bool) -> None:
        """Show the model and its limits."""
        model = self.work.model
        self._print(
            "start",
            images=self.jobs,
            model=model.name,
            sha256=model.sha256,
            scale=self.work.settings.scale or model.scale,
            **(asdict(model.choice) if model.choice else {"device": model.device}),
            shard=str(self.shard),
        )
        if self.work.report and model.choice and not self.as_json:
            self.note(f"engine {model.choice} ({model.choice.why})")
        if self.shard.count > 1:
            self.note(f"shard {self.shard} of {self.jobs} images")
        if source := model.metadata.get("source"):
            self.note(f"model {source}")
        if general:
            self.note(f"no model of general photographs: all but faces is upscaled by {model.name}")
        if (scale := self.work.settings.scale) and scale != model.scale:
            self.note(
                f"model '{model.name}' upscales by {model.scale}; "
                f"resampled from there to {scale:g} by Lanczos"
            )
        if not model.exact_tiles:
            self.note(
                f"model '{model.name}' states no receptive radius: "
                "images larger than a tile are approximated"
            )

    def note(self, text: str, example: str = "") -> None:
        """Show a remark on the results, once, with the first file that it is true of."""
        if text in self.shown:
            return
        self.shown.add(text)
        text += example and f" (such as {example})"
        self._print("note", text=text)
        if not self.as_json:
            self.console.print(Text(escaped(text), "dim"), soft_wrap=True)

    def ignored(self, files: list[Path]) -> None:
        """Name the files of folders that are no images."""
        for file in files:
            self._print("ignored", input=str(file))
        kinds = Counter(file.suffix.lower() or "without a suffix" for file in files)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        if files:
            self.note(f"no images by their names, left out: {counts}", files[0].name)

    def event(self, event: Event) -> None:
        """Show the outcome of an image."""
        limits = self.work.model.limits
        while limits.notes:
            self.note(limits.notes.pop(0))
        if self.as_json:
            self._print(event.kind, input=str(event.job.input), **_values(event))
        elif event.kind == "failed":
            show_error(event.error)
        elif event.kind == "skipped":
            show(f"{event.job.output} (done before)")
        else:
            for file in event.files:
                show(file)
            if event.result:
                self._result(event.job, event.result)

    def _result(self, job: Job, result: Result) -> None:
        if result.residual is not None:
            self.note(f"{job.input}: residual {result.residual:.2f} of 255")
        if result.faces is not None and not self.work.faces_only:
            self.note(f"{job.input}: {result.faces[0]} of {result.faces[1]} faces restored")
        for text in result.notes:
            self.note(text, job.input.name)

    def plan(self, jobs: Sequence[Job]) -> None:
        """List what would happen."""
        from srkit.imaging import codec

        for job in jobs:
            output = "-" if job.piped else str(job.output)
            plan: dict[str, Any]
            try:
                size = codec.size_of(job.input, job.encoded)
                result = self.work.model.size(size, self.work.settings)
                plan = {"output": output, "size": size, "result": result}
                text = f"{size[0]}x{size[1]} to {result[0]}x{result[1]}"
            except InputError as error:
                plan, text = {"error": str(error)}, "can't be read"
            self._print("plan", input=str(job.input), **plan)
            if not self.as_json:
                show(f"{job.input} -> {output}  ({text})")

    def end(self, totals: Counter[str]) -> None:
        """Show how many images had each outcome."""
        self._print("end", **{kind: totals[kind] for kind in ("done", "skipped", "failed")})
        if (failed := totals["failed"]) and not self.as_json:
            show_error(failures(failed, totals.total()))

    def _print(self, event: str, **values: Any) -> None:
        if self.as_json:
            print(json.dumps({"event": event, **values}), flush=True)  # noqa: T201

    @contextmanager
    def progress(self, count: int) -> Iterator[Callable[[float], None]]:
        """Show how many images are done, in fractions: a large one moves, too."""
        with Bars(self.console) as bars:
            done, last = 0.0, time.monotonic()

            def advance(images: float) -> None:
                nonlocal done, last
                done += images
                if not self.as_json:
                    bars("upscale", done, count)
                elif (now := time.monotonic()) - last >= INTERVAL:
                    last = now
                    self._print("progress", images=round(done, 3), of=count)

            yield advance


def _values(event: Event) -> dict[str, Any]:
    """Return the fields of an image's JSON object, beside its name."""
    if event.kind == "failed":
        return {"error": event.error}
    if (result := event.result) is None:
        return {}
    values: dict[str, Any] = {
        "files": [str(file) for file in event.files],
        "seconds": round(event.seconds, 4),
        "residual": result.residual,
        "notes": list(result.notes) or None,
    }
    if result.faces:
        values |= {"faces_restored": result.faces[0], "faces_found": result.faces[1]}
    return {key: value for key, value in values.items() if value is not None}
