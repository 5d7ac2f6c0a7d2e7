"""Readers of face sets: people and their photos, in an order that the disk doesn't decide."""

from __future__ import annotations

import csv as tables
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from srkit import InputError, Person

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".avif"}
# ``01-1m.jpg``: person, photo, sex (IMM Face Database); ``01_01.jpg``: IMM Frontal.
IMM = re.compile(r"(?P<person>\d+)(-(?P<a>\d+)[fm]?|_(?P<b>\d+))$", re.IGNORECASE)

# Headings of a table's columns, in any case; the first that is there counts.
FILE = ("file", "filename", "file_name", "path", "image", "image_id", "photo")
IDENTITY = ("identity", "identity_id", "person", "name", "id", "label", "subject")
SPLIT = ("split", "partition", "subset", "set")
TEST = "test"


def _photos(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    return sorted(
        photo
        for photo in root.rglob("*")
        if photo.suffix.lower() in SUFFIXES
        and photo.is_file()
        # Thumbnails in a hidden folder would be the easiest of same pairs.
        and not any(part.startswith(".") for part in photo.relative_to(root).parts)
    )


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InputError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    return sorted(f for f in root.iterdir() if f.is_dir() and f.name[0] != ".")


def imm(root: Path) -> list[Person]:
    """IMM Face Database (01-1m.jpg) or IMM Frontal (01_01.jpg), by person and photo number.

    As in the paper's section IV-B, five people and three photos of each are drawn from it.

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


imm.draw = (5, 3)  # type: ignore[attr-defined] # people and photos of each, for a table


def folders(root: Path) -> list[Person]:
    """One folder a person, named after them; photos may lie in folders within.

    A folder without photos is a person without photos, for the bench to report.

    Raises:
        InputError: No such folder, or no folder with photos in it.
    """
    people = [Person(folder.name, tuple(_photos(folder))) for folder in _folders(root)]
    if not any(person.photos for person in people):
        raise InputError(f"{root}: no folders of photos in it, one a person")
    return people


def lfw(root: Path) -> list[Person]:
    """Labeled Faces in the Wild: one folder a person, or a folder that holds only such a folder.

    The archives unpack to lfw/, lfw_funneled/ or lfw-deepfunneled/, some of them one in the other:
    so a folder whose name begins with lfw is looked into, and so is one that is alone and has no
    photos itself.

    Raises:
        InputError: No such folder, or no folder with photos in it.
    """
    within = root
    while (inner := _inner(within)) is not None:
        within = inner
    return folders(within)


def _inner(root: Path) -> Path | None:
    """Return the folder in which the people's folders are to be looked for, if not in this one."""
    all_of_them = _folders(root)
    named = [folder for folder in all_of_them if folder.name.lower().startswith("lfw")]
    for some in (named, all_of_them):
        if len(some) == 1:
            return some[0] if _folders(some[0]) else None
    return None


def csv(root: Path) -> list[Person]:
    """A table of files and identities: a CSV file, or a folder with one in it, as CelebA's.

    Its first row names the columns: a file (``file``, ``filename``, ``path``, ``image``, ...), an
    identity (``identity``, ``person``, ``name``, ``id``, ``label``, ...), and perhaps a ``split``.
    Where there are rows of split ``test``, only those are taken: models may have seen the others.
    Files lie beside the table, or in the folder of their split beside it. Commas, semicolons and
    tabs may stand between values.

    Raises:
        InputError: No such file; it isn't such a table; a file would lie outside of its folder, or
            is two people's; none of the files is there.
    """
    table = _table(root)
    photos: dict[str, list[Path]] = {}
    whose: dict[Path, str] = {}
    for number, name, identity, split in _rows(table):
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise InputError(f"{table}: row {number}: '{name}' isn't below the table's folder")
        photo = _beside(table.parent, name, split)
        if whose.setdefault(photo, identity) != identity:
            raise InputError(
                f"{table}: row {number}: '{name}' is of '{whose[photo]}' and of '{identity}'"
            )
        if photo not in (its := photos.setdefault(identity, [])):
            its.append(photo)
    if not any(os.path.isfile(photo) for photo in whose):  # noqa: PTH113 - see `_beside`
        raise InputError(f"{table}: none of its {len(whose)} files is there, such as {photo}")
    # One of the missing is left in: the bench says which photos it couldn't read.
    return [Person(name, tuple(sorted(photos[name]))) for name in sorted(photos, key=_natural)]


def _natural(name: str) -> tuple[int, str]:
    return len(name) if name.isdecimal() else 0, name


def _table(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder")
    found = sorted(file for file in root.iterdir() if file.suffix.lower() == ".csv")
    if len(found) != 1:
        several = ", ".join(file.name for file in found[:3])
        said = f"several CSV files ({several}): name one" if found else "no CSV file in it"
        raise InputError(f"{root}: {said}")
    return found[0]


def _rows(table: Path) -> list[tuple[int, str, str, str]]:
    """Return each row's number, file, identity and split ("" without that column)."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            header = handle.readline()
            between = max(",;\t", key=header.count)
            handle.seek(0)
            found = list(_values(tables.DictReader(handle, delimiter=between), table))
    except OSError as error:
        raise InputError(f"{table}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table}: not UTF-8; save it as such") from error
    except tables.Error as error:
        raise InputError(f"{table}: not a readable CSV file ({error})") from error
    if not found:
        raise InputError(f"{table}: no rows in it")
    return [row for row in found if row[3].lower() == TEST] or found


def _values(reader: tables.DictReader[str], table: Path) -> Iterator[tuple[int, str, str, str]]:
    given = {heading.strip().lower(): heading for heading in reader.fieldnames or () if heading}
    file = _column(given, FILE, "files", table)
    identity = _column(given, IDENTITY, "identities", table)
    split = next((given[name] for name in SPLIT if name in given), None)
    for number, row in enumerate(reader, 2):  # the first is that of the headings
        its = [(row[heading] or "").strip() for heading in (file, identity)]
        if not all(its):
            raise InputError(f"{table}: row {number}: no {'identity' if its[0] else 'file'}")
        yield number, its[0], its[1], (row[split] or "").strip() if split else ""


def _column(given: Mapping[str, str], names: Sequence[str], what: str, table: Path) -> str:
    for name in names:
        if name in given:
            return given[name]
    there = ", ".join(given) or "nothing"
    raise InputError(
        f"{table}: no column of {what}: one of the headings should be {', '.join(names[:4])}; "
        f"there is {there}"
    )


def _beside(folder: Path, name: str, split: str) -> Path:
    """Return where a file is: beside the table, or in its split's folder."""
    split_is_a_name = split and Path(split).name == split and split != ".."
    # Path.is_file would fail where a name is longer than names can be.
    if split_is_a_name and not os.path.isfile(folder / name):  # noqa: PTH113
        return folder / split / name
    return folder / name
