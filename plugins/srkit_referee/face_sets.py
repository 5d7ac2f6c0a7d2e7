"""Folders of people's photos, read in a fixed order."""

from __future__ import annotations

import re
from pathlib import Path

from srkit import InputError, Person

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
# ``01-1m.jpg``: person, photo, sex (IMM Face Database); ``01_01.jpg``: IMM Frontal.
IMM = re.compile(r"(?P<person>\d+)(-(?P<a>\d+)[fm]?|_(?P<b>\d+))$", re.IGNORECASE)


def _photos(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    return sorted(
        photo
        for photo in root.rglob("*")
        if photo.suffix.lower() in SUFFIXES and photo.is_file() and photo.name[0] != "."
    )


def imm(root: Path) -> list[Person]:
    """IMM Face Database (01-1m.jpg) or IMM Frontal (01_01.jpg), by person and photo number.

    Raises:
        InputError: No such folder, or no photo so named in it.
    """
    people: dict[str, list[tuple[int, Path]]] = {}
    for photo in _photos(root):
        if match := IMM.match(photo.stem):
            number = int(match["a"] or match["b"])
            people.setdefault(match["person"], []).append((number, photo))
    if not people:
        raise InputError(f"{root}: no photos named like IMM's (01-1m.jpg or 01_01.jpg)")
    return [
        Person(name, tuple(photo for _, photo in sorted(people[name])))
        for name in sorted(people, key=lambda name: (int(name), name))
    ]


def folders(root: Path) -> list[Person]:
    """One folder a person, named after them.

    Raises:
        InputError: No such folder, or no folder with photos in it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    people = [
        Person(folder.name, tuple(_photos(folder)))
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    ]
    people = [person for person in people if person.photos]
    if not people:
        raise InputError(f"{root}: no folders of photos in it, one a person")
    return people
