"""What a run shows of itself, in a shell and in Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from srkit.progress import Bars, duration


class Display(Bars):
    """Shows records of a run as bars, and validations as lines that stay."""

    now = ""
    total = 0

    def record(self, record: Mapping[str, Any]) -> None:
        """Show one record."""
        if "decoded" in record:
            self("decoded", record["decoded"], record["of"])
        elif "start" in record:
            self.total = record["steps"]
            for line in _introduction(record):
                self.say(line)
            self("step", record["start"], self.total)
        else:
            self.now = _now(record) or self.now
            self("step", record["step"], self.total, self.now)
            for line in _lines(record):
                self.say(line)


def _introduction(record: Mapping[str, Any]) -> Iterator[str]:
    photos = "photos from shards" if record["photos"] is None else f"{record['photos']} photos"
    processes = f", {record['processes']} processes" if record["processes"] > 1 else ""
    tf32 = " (TF32 off)" if "tf32" in record else ""
    cost = ""
    if forecast := record.get("forecast"):
        left = record["steps"] - record["start"]
        memory = f"{forecast['memory'] / 2**30:.1f} GiB"
        cost = f"about {duration(forecast['seconds'])} and {memory} for {left:,} steps; "
    yield (
        f"{cost}{photos} (storage: {record['storage']}), {record['held_out']} held out, "
        f"on {record['device']}{processes} in {record['precision']}{tf32}; "
        f"bicubic has {record['bicubic_psnr']:.2f} dB; writing to {record['out']}"
    )
    yield from record["notes"]
    if broken := record["broken"]:
        yield f"left out {len(broken)} broken images: {'; '.join(broken)}"


def _now(record: Mapping[str, Any]) -> str:
    """Return losses and speed in a few words, first what a narrow terminal has room for."""
    losses = dict(record.get("losses", {}))
    words = [f"loss {losses.pop('loss'):.4g}"] if "loss" in losses else []
    if "images_per_second" in record:
        words.append(f"{record['images_per_second']:.0f} images/s")
    terms = [n for n in losses if not n.startswith("d_") or n == "d_accuracy"]
    if len(terms) > 1:
        words += [f"{name} {losses[name]:.4g}" for name in terms]
    return ", ".join(words)


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
