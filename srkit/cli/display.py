"""What ``srkit train`` shows of a run."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from srkit.errors import escaped

EVERY = 30.0  # seconds between progress lines where there is no terminal


class Display:
    """Shows records of a run as a progress line, and validations as lines that stay.

    Where there is no terminal, a plain line says every half minute how far it is.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task: TaskID | None = None
        self.total = self.first = 0
        self.now = ""
        self.began = self.shown = time.monotonic()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Show one record."""
        if "decoded" in record:
            if self.task is None:
                self._begin("decode", record["decoded"], record["of"])
            self._advance("decoded", record["decoded"])
        elif "start" in record:
            self._introduce(record)
            self._begin("train", record["start"], record["steps"])
        else:
            self.now = _now(record) or self.now
            self._advance("step", record["step"])
            for line in _lines(record):
                self._say(line)

    def _begin(self, what: str, done: int, total: int) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.progress.start()
        self.task = self.progress.add_task(what, total=total, completed=done, now="")
        self.first, self.total, self.began = done, total, time.monotonic()

    def _advance(self, what: str, done: int) -> None:
        assert self.task is not None
        self.progress.update(self.task, completed=done, now=self.now)
        now = time.monotonic()
        if self.progress.disable and now - self.shown >= EVERY:
            self.shown = now
            seconds = (now - self.began) / max(1, done - self.first) * (self.total - done)
            left = datetime.timedelta(seconds=round(seconds))
            self._say(f"{what} {done:,} of {self.total:,}  {self.now}  {left} left")

    def _say(self, text: str) -> None:
        self.console.print(escaped(text), highlight=False, markup=False)

    def _introduce(self, record: Mapping[str, Any]) -> None:
        photos = "photos from shards" if record["photos"] is None else f"{record['photos']} photos"
        processes = f", {record['processes']} processes" if record["processes"] > 1 else ""
        tf32 = " (TF32 off)" if "tf32" in record else ""
        self._say(
            f"{photos} (storage: {record['storage']}), {record['held_out']} held out, "
            f"on {record['device']}{processes} in {record['precision']}{tf32}; "
            f"bicubic has {record['bicubic_psnr']:.2f} dB; writing to {record['out']}"
        )
        for note in record["notes"]:
            self._say(note)
        if broken := record["broken"]:
            self._say(f"left out {len(broken)} broken images: {'; '.join(broken)}")


def _now(record: Mapping[str, Any]) -> str:
    """Return losses and speed in a few words."""
    losses = record.get("losses", {})
    shown = [n for n in losses if not n.startswith("d_") or n == "d_accuracy"]
    words = [f"{name} {losses[name]:.4g}" for name in shown]
    if "images_per_second" in record:
        words.append(f"{record['images_per_second']:.0f} images/s")
    return " ".join(words)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a record stays on the screen."""
    step = f"step {record['step']}:"
    if scores := record.get("validation"):
        others = [n for n in scores if f"bicubic_{n}" in scores and n not in ("psnr", "ssim")]
        also = [f", {n} {scores[n]:.4g} ({scores[f'bicubic_{n}']:.4g})" for n in others]
        yield (
            f"{step} PSNR {scores['psnr']:.2f} dB "
            f"({scores['psnr'] - scores['bicubic_psnr']:+z.2f} over bicubic), "
            f"SSIM {scores['ssim']:.4f} ({scores['bicubic_ssim']:.4f}){''.join(also)}"
        )
    if skipped := record.get("skipped"):
        yield f"{step} skipped {skipped} batches that were not finite"
    if event := record.get("event"):
        yield f"{step} {event}"
    yield from (f"left out {message}" for message in record.get("broken", ()))
