"""What ``srkit train`` shows of a run."""

from __future__ import annotations

from collections.abc import Mapping
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

from srkit.errors import SrkitError


class Display:
    """Shows records of a run as a progress line, and validations as lines that stay."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task: TaskID | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        if self.task is not None:
            self.progress.stop()

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Show one record."""
        if "decoded" in record:
            self._decoding(record["decoded"], record["of"])
            return
        if "start" in record:
            self._start(record)
            return
        if self.task is None:
            raise SrkitError("a record came before the start")
        fields: dict[str, Any] = {}
        if losses := record.get("losses"):
            shown = [n for n in losses if not n.startswith("d_") or n == "d_accuracy"]
            fields["losses"] = " ".join(f"{name} {losses[name]:.4g}" for name in shown)
        if "pictures_per_second" in record:
            fields["speed"] = f"{record['pictures_per_second']:.0f} pictures/s"
        self.progress.update(self.task, completed=record["step"], **fields)
        if scores := record.get("validation"):
            others = [n for n in scores if f"bicubic_{n}" in scores and n not in ("psnr", "ssim")]
            also = [f", {n} {scores[n]:.4g} ({scores[f'bicubic_{n}']:.4g})" for n in others]
            self._say(
                f"step {record['step']}: PSNR {scores['psnr']:.2f} dB "
                f"({scores['psnr'] - scores['bicubic_psnr']:+.2f} over bicubic), "
                f"SSIM {scores['ssim']:.4f} ({scores['bicubic_ssim']:.4f}){''.join(also)}"
            )
        if skipped := record.get("skipped"):
            self._say(f"step {record['step']}: skipped {skipped} batches that were not finite")
        if event := record.get("event"):
            self._say(f"step {record['step']}: {event}")
        for message in record.get("broken", ()):
            self._say(f"left out {message}")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def _decoding(self, done: int, total: int) -> None:
        if not self.console.is_terminal:
            return
        if self.task is None:
            self.progress.start()
            self.task = self.progress.add_task("decode", total=total, losses="", speed="")
        self.progress.update(self.task, completed=done, total=total)

    def _start(self, record: Mapping[str, Any]) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        photos = "photos from shards" if record["photos"] is None else f"{record['photos']} photos"
        sharing = f", {record['processes']} processes" if record["processes"] > 1 else ""
        self._say(
            f"{photos} (storage: {record['storage']}), {record['held_out']} held out, "
            f"on {record['device']}{sharing}; "
            f"bicubic has {record['bicubic_psnr']:.2f} dB; writing to {record['out']}"
        )
        for note in record["notes"]:
            self._say(note)
        if record["broken"]:
            self._say(
                f"left out {len(record['broken'])} broken pictures: {'; '.join(record['broken'])}"
            )
        self.progress.start()
        self.task = self.progress.add_task(
            "train", total=record["steps"], completed=record["start"], losses="", speed=""
        )
