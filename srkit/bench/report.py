"""What was measured, as JSON and as tables."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from srkit.bench.identity import Identity
from srkit.bench.quality import BICUBIC, METRICS, Quality
from srkit.errors import InputError
from srkit.files import atomic


@dataclass(frozen=True)
class Report:
    """Everything one bench measured.

    Attributes:
        models: Name to sha256 of the weights (None for a model without any).
        quality: PSNR and SSIM, or None where no pictures were given.
        identity: Distances, or None where no face set was given.
    """

    models: dict[str, str | None]
    quality: Quality | None = None
    identity: Identity | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain values; infinite decibels become the string ``"inf"``."""
        plain: dict[str, Any] = {
            "models": self.models,
            "quality": self.quality and self.quality.as_json(),
            "identity": self.identity and self.identity.as_json(),
        }
        return {key: _finite(value) for key, value in plain.items()}

    def write(self, file: str | Path) -> None:
        """Write the JSON.

        Raises:
            InputError: It can't be written.
        """
        file = Path(file)
        try:
            with atomic(file) as temporary:
                temporary.write_text(json.dumps(self.as_json(), indent=1), encoding="utf-8")
        except OSError as error:
            raise InputError(f"can't write {file}: {error}") from error

    def tables(self) -> RenderableType:
        """Return the tables for a terminal, each with its protocol beneath."""
        parts: list[RenderableType] = []
        if self.quality:
            parts += [quality_table(self.quality), _fine_print(self.quality.protocol)]
        if self.identity:
            parts += [identity_table(self.identity), _fine_print(self.identity.protocol)]
        return Group(*parts)


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def quality_table(quality: Quality) -> Table:
    """Return a row a model: the four means, and the PSNR gained over bicubic with its interval."""
    table = Table(title=f"Quality on {quality.protocol['files']} pictures", title_justify="left")
    table.add_column("model")
    for heading in ("PSNR RGB", "SSIM RGB", "PSNR Y", "SSIM Y", "PSNR gain [95%]"):
        table.add_column(heading, justify="right")
    for column in quality.scores:
        values = [
            f"{quality.mean(column, metric):.{2 if metric.startswith('psnr') else 4}f}"
            for metric in METRICS
        ]
        gain, low, high = quality.gain(column, "psnr")
        shown = "" if column == BICUBIC else f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]"
        table.add_row(column, *values, shown)
    return table


def identity_table(identity: Identity) -> Table:
    """Return Table II: a row a person and image, a column a method, and the means."""
    title = f"Identity distance, {identity.protocol['embedder']} (lower is closer)"
    table = Table(title=title, title_justify="left")
    table.add_column("person")
    table.add_column("image")
    for column in identity.columns:
        table.add_column(column, justify="right")
    before = ""
    for row in identity.rows:
        name = row.person if row.person != before else ""
        table.add_row(name, row.photo, *(f"{row.distances[c]:.4f}" for c in identity.columns))
        before = row.person
    table.add_section()
    table.add_row("mean", "", *(f"{identity.mean(c):.4f}" for c in identity.columns))
    ends = [identity.interval(column) for column in identity.columns]
    table.add_row("95%", "", *(f"{low:.3f}-{high:.3f}" for low, high in ends))
    reference = identity.mean(BICUBIC)
    ratios = (f"{identity.mean(column) / reference:.3f}" for column in identity.columns)
    table.add_row("of bicubic", "", *ratios)
    notes: list[str] = []
    if identity.no_face:
        some = ", ".join(identity.no_face[:5]) + (", ..." if len(identity.no_face) > 5 else "")
        notes.append(f"no face found in {len(identity.no_face)} photos: {some}")
    notes += [f"left out: {', '.join(identity.left_out)}"] if identity.left_out else []
    table.caption = "; ".join(notes) or None
    return table


def _fine_print(protocol: dict[str, Any]) -> Text:
    shown = {**protocol, **protocol.get("versions", {})}
    shown |= shown.pop("options", {})
    for key in ("versions", "embedder_sha256"):
        shown.pop(key, None)
    text = ", ".join(f"{key} {value}" for key, value in shown.items())
    return Text(f"protocol: {text}\n", style="dim")
