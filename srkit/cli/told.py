"""What `srkit upscale` tells: people on both streams, or programs as JSON on one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from srkit.batch import Event, Job, Share, Totals, Work


@dataclass
class Said:
    """What is told of a batch.

    Attributes:
        work: What is done to each picture.
        share: Whose part it is.
        jobs: How many pictures there are in all.
        as_json: For programs.
        console: For people.
        told: Notes that needn't be repeated.
    """

    work: Work
    share: Share
    jobs: int
    as_json: bool
    console: Console = field(default_factory=lambda: Console(stderr=True))
    told: set[str] = field(default_factory=set)

    def begin(self, *, general: bool) -> None:
        """Say what the batch is made with."""
        model = self.work.model
        about = {
            "pictures": self.jobs,
            "model": model.name,
            "sha256": model.sha256,
            "scale": self.work.settings.scale or model.scale,
            "device": str(model.device),
            "share": str(self.share),
        }
        self._print("start", **about)
        if self.share.count > 1:
            self.note(f"share {self.share} of {self.jobs} pictures")
        if general:
            self.note(f"no model of general photographs: all but faces is enlarged by {model.name}")
        if (wanted := self.work.settings.scale) and wanted != model.scale:
            self.note(
                f"model '{model.name}' enlarges by {model.scale}; "
                f"resampled from there to {wanted:g} by Lanczos"
            )
        if not model.exact_tiles:
            self.note(
                f"model '{model.name}' states no receptive radius: "
                "pictures larger than a tile are approximated"
            )

    def note(self, text: str) -> None:
        """Tell something of the results, once."""
        if text in self.told:
            return
        self.told.add(text)
        if self.as_json:
            self._print("note", text=text)
        else:
            self.console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)

    def event(self, event: Event) -> None:
        """Tell what became of a picture."""
        for text in self.work.model.limits.notes:
            self.note(text)
        self.work.model.limits.notes.clear()
        job, result = event.job, event.result
        if self.as_json:
            about: dict[str, Any] = {"input": str(job.input)}
            if event.kind == "done" and result:
                about |= {
                    "files": [str(f) for f in event.files],
                    "seconds": round(event.seconds, 4),
                }
                about |= {"residual": result.residual} if result.residual is not None else {}
                if result.faces:
                    about |= {"faces_restored": result.faces[0], "faces_found": result.faces[1]}
                about |= {"notes": list(result.notes)} if result.notes else {}
            elif event.kind == "failed":
                about["error"] = event.error
            self._print(event.kind, **about)
            return
        if event.kind == "failed":
            print(f"srkit: {event.error}", file=sys.stderr)  # noqa: T201
            return
        if event.kind == "skipped":
            print(f"{job.output} (done before)", flush=True)  # noqa: T201
        for file in event.files:
            print(file, flush=True)  # noqa: T201
        if result:
            self._about(job, result)

    def _about(self, job: Job, result: Any) -> None:
        if result.residual is not None:
            self.note(f"{job.input}: residual {result.residual:.2f} of 255")
        if result.faces is not None and not self.work.faces_only:
            self.note(f"{job.input}: {result.faces[0]} of {result.faces[1]} faces restored")
        for text in result.notes:
            if text not in self.told:
                self.told.add(text)
                self.note(f"{text} (such as {job.input.name})")

    def forecast(self, jobs: list[Job]) -> None:
        """List what would happen."""
        from srkit.batch import peek
        from srkit.batch.estimate import Estimator, totals
        from srkit.inference.upscale import wanted_size

        estimator = Estimator(self.work.model, self.work.settings)
        costs = []
        for job in jobs:
            size = peek(job.input)
            if size is None:
                self._row(job, "can't be read")
                continue
            cost = estimator.cost(size)
            costs.append(cost)
            after = wanted_size(size, self.work.model, self.work.settings)
            self._row(job, f"{size[0]}x{size[1]} to {after[0]}x{after[1]}", cost)
        all_of_it = totals(costs)
        if self.as_json:
            self._print("forecast", seconds=all_of_it.seconds, memory=all_of_it.memory)
            return
        print(  # noqa: T201
            f"{len(costs)} pictures, about {_time(all_of_it.seconds)} of computing, "
            f"up to {all_of_it.memory / 2**30:.1f} GiB beside the program itself"
            + (" (faces not counted)" if self.work.restorer else "")
        )

    def _row(self, job: Job, what: str, cost: Any = None) -> None:
        if self.as_json:
            about = {"seconds": cost.seconds, "memory": cost.memory} if cost else {"error": what}
            self._print("plan", input=str(job.input), output=str(job.output), **about)
        else:
            extra = f", {_time(cost.seconds)}, {cost.memory / 2**20:.0f} MiB" if cost else ""
            print(f"{job.input} -> {job.output}  ({what}{extra})")  # noqa: T201

    def end(self, totals: Totals) -> None:
        """Say how it went."""
        if self.as_json:
            self._print("end", done=totals.done, skipped=totals.skipped, failed=totals.failed)
        elif totals.failed:
            count = totals.done + totals.skipped + totals.failed
            word = "picture" if totals.failed == 1 else "pictures"
            print(f"srkit: {totals.failed} {word} of {count} failed", file=sys.stderr)  # noqa: T201

    def _print(self, event: str, **values: Any) -> None:
        if self.as_json:
            print(json.dumps({"event": event, **values}), flush=True)  # noqa: T201

    @contextmanager
    def progress(self, jobs: list[Job]) -> Iterator[Any]:
        """Show how far it is, by pixels: one large picture moves as well as many small ones."""
        if not (self.as_json or self.console.is_terminal):
            yield lambda pixels: None
            return
        from srkit.batch import peek

        its = [job for number, job in enumerate(jobs) if number in self.share]
        total = sum(width * height for width, height in (peek(job.input) or (0, 0) for job in its))
        if self.as_json:
            yield _Counted(total, self._print)
            return
        percent = "{task.percentage:>3.0f}%"
        columns = (TextColumn("upscale"), BarColumn(), percent, TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as shown:
            task = shown.add_task("", total=total)
            yield lambda pixels: shown.advance(task, pixels)


@dataclass
class _Counted:
    """Tells a program how far it is, about once a second."""

    total: int
    tell: Callable[..., None]
    done: int = 0
    told: float = field(default_factory=time.monotonic)

    def __call__(self, pixels: int) -> None:
        self.done += pixels
        if (now := time.monotonic()) - self.told >= 1:
            self.told = now
            self.tell("progress", pixels=self.done, of=self.total)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
