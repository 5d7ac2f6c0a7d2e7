"""What a file can carry beside its pixels, and what becomes of it in each format: a table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF", "GIF", "BMP")
TARGETS = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF", "BMP")
KEPT, CORRECTED, NOTED, REFUSED = "kept", "corrected", "dropped with a note", "refused"

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
NAMESPACES: dict[str, str] = _TABLE["namespaces"]

Properties = tuple[tuple[str, str | None], ...]  # namespaces of XMP and a name, or all names


def _properties(names: Iterable[str]) -> Properties:
    pairs = (name.split(":") for name in names)
    return tuple((NAMESPACES[space], None if name == "*" else name) for space, name in pairs)


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that a file can carry: a table of ``carried.toml``."""

    name: str  # on the page "Upscaling"
    sources: str  # formats that it is read from, or recognised in
    kept: str = ""  # formats that keep it as it is
    corrected: str = ""  # formats in which it, or what it is for, stays true of the new image
    refused: bool = False  # files with it aren't read; else other formats leave it out, with a note
    key: str = ""  # in `srkit.imaging.image.DecodedImage.info`, if it has one of its own
    what: str = ""  # what a note calls it
    within: str = ""  # the key of what it is a part of
    xmp: Properties = ()  # that go with it: they would promise what is gone, or be false
    turned: bool = False  # these go only where the image is turned
    parts: tuple[tuple[str, ...], ...] = ()  # that it lies in: format, name and beginning of each

    def outcome(self, source: str, target: str) -> str:
        """Return what becomes of it between two formats; "" where it can't come from the first."""
        if source not in self.sources.split():
            return ""
        if self.refused:
            return REFUSED
        if target in self.kept.split():
            return KEPT
        return CORRECTED if target in self.corrected.split() else NOTED

    @property
    def note(self) -> str:
        """What is said where it is left out in reading; "" where nothing is lost."""
        return f"{self.what} left out" if self.what and not self.key else ""


def _item(values: dict[str, Any]) -> Item:
    parts = tuple((*part.split(" ", 2), "")[:3] for part in values.pop("parts", ()))
    return Item(xmp=_properties(values.pop("xmp", ())), parts=parts, **values)


ITEMS = tuple(_item(values) for values in _TABLE["items"])
BY_NAME = {item.name: item for item in ITEMS}
BY_KEY = {item.key: item for item in ITEMS if item.key}
LINKS = _properties(_TABLE["links"])


def holds(target: str, key: str) -> bool:
    """Return whether a format has a place for what has a key of its own."""
    return target in f"{BY_KEY[key].kept} {BY_KEY[key].corrected}".split()


def found(format_name: str, part: str, content: bytes) -> Iterator[Item]:
    """Yield the items that lie in a part of a file."""
    for item in ITEMS:
        if any(
            (format_name, part) == (source, name) and content.startswith(start.encode("latin-1"))
            for source, name, start in item.parts
        ):
            yield item


def without_losses(info: dict[str, Any], target: str) -> tuple[dict[str, Any], list[str]]:
    """Return what of ``info`` a format has a place for, and a note for each thing that it hasn't.

    Profiles are in all: where there is no place for one, the colours are brought to sRGB.
    """
    lost = [item for key, item in BY_KEY.items() if info.get(key) and not holds(target, key)]
    gone = {item.key for item in lost}
    notes = [f"{target} holds no {item.what}: it was left out" for item in lost]
    return {key: value for key, value in info.items() if key not in gone}, notes
