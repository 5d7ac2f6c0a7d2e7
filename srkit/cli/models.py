"""``srkit models``: what there is to upscale with; no torch."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from srkit import registry
from srkit.errors import SrkitError
from srkit.hookspecs import ReadyModel
from srkit.recipe import Recipe

UNBROKEN = 1000  # columns: a row stays a line where programs read it


def models() -> None:
    """List the models that have a name."""
    console = Console()
    if not console.is_terminal:
        console.width = UNBROKEN
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "scale", "size", "licence", "description", "card", "provided by"):
        table.add_column(heading, overflow="fold")
    for name, offer in registry.offers("models").items():
        owner = " and ".join(f"{p.distribution} {p.version}" for p in offer.plugins)
        try:
            ready: ReadyModel = registry.build("models", name)
        except SrkitError as error:  # a clash, or a plugin that fails: the others are listed
            table.add_row(*map(escape, (name, "", "", "", str(error), "", owner)))
            continue
        scale = str(ready.scale) if ready.file is None else _scale(ready.file)
        size = "no weights" if ready.file is None else _size(ready.file)
        row = map(escape, (name, scale, size, ready.licence, ready.description))
        table.add_row(*row, _card(ready.card), escape(owner))
    console.print(table)


def _card(card: Path | None) -> Text:
    """Return a card's file name, which terminals that know links open."""
    return Text(card.name, style=f"link {card.as_uri()}") if card else Text()


def _size(file: Path) -> str:
    return decimal(file.stat().st_size) if file.is_file() else "missing"


def _scale(file: Path) -> str:
    """Return the scale in an srkit checkpoint's header, or ``""`` of any other file."""
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if length > file.stat().st_size:
                return ""
            header = json.loads(handle.read(length))["__metadata__"]
        return str(Recipe.from_toml(json.loads(header["srkit"])["recipe"], str(file)).scale)
    except (OSError, ValueError, KeyError, TypeError, SrkitError):
        return ""
