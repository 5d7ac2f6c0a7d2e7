"""Readers of face sets: people and their photos, in an order that the disk doesn't decide.

A reader raises `srkit.InputError` where its folder or file isn't there, or holds nothing for it.
"""

from __future__ import annotations

import csv as tables
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srkit import InputError, Person
from srkit.errors import one_line
from srkit.imaging import codec

# ``01-1m.jpg``: person, photo, sex (IMM Face Database); ``01_01.jpg``: IMM Frontal.
IMM = re.compile(r"(?P<person>\d+)(-(?P<a>\d+)[fm]?|_(?P<b>\d+))$", re.IGNORECASE)

# Headings of a table's columns, in any case; the first that is there counts.
FILE = ("file", "filename", "file_name", "path", "image", "image_id", "photo")
IDENTITY = ("identity", "identity_id", "person", "name", "id", "label", "subject")
SPLIT = ("split", "partition", "subset", "set")
TEST = "test"


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")


def _photos(root: Path) -> list[Path]:
    _require_folder(root)
    # Not of hidden folders: thumbnails would be the easiest of same pairs.
    return codec.listed(root, may_be_empty=True)


def _folders(root: Path) -> list[Path]:
    _require_folder(root)
    return sorted(f for f in root.iterdir() if f.is_dir() and f.name[0] != ".")


def imm(root: Path) -> list[Person]:
    """IMM Face Database (01-1m.jpg) or IMM Frontal (01_01.jpg), by person and photo number.

    As in the paper's section IV-B, five people and three photos of each are drawn from it.
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
    """
    while (inner := _inner(root)) is not None:
        root = inner
    return folders(root)


def _inner(root: Path) -> Path | None:
    """Return the folder in which the people's folders are to be looked for, if not in this one."""
    folders = _folders(root)
    named = [folder for folder in folders if folder.name.lower().startswith("lfw")]
    alone = next((group[0] for group in (named, folders) if len(group) == 1), None)
    return alone if alone and _folders(alone) else None


class _Row(NamedTuple):
    number: int
    file: str
    identity: str
    split: str  # "" without that column


def csv(root: Path) -> list[Person]:
    """A table of files and identities: a CSV file, or a folder with one in it, as CelebA's.

    Its first row names the columns: a file (``file``, ``filename``, ``path``, ``image``, ...), an
    identity (``identity``, ``person``, ``name``, ``id``, ``label``, ...), and perhaps a ``split``.
    Where there are rows of split ``test``, only those are taken: models may have seen the others.
    Files lie beside the table, or in the folder of their split beside it. Commas, semicolons and
    tabs may stand between values.
    """
    table = _table(root)
    photos: dict[str, list[Path]] = {}
    owners: dict[Path, str] = {}
    for row in _rows(table):
        if Path(row.file).is_absolute() or ".." in Path(row.file).parts or "\0" in row.file:
            raise InputError(f"{table}: row {row.number}: '{row.file}' isn't below its folder")
        photo = _beside(table.parent, row)
        if owners.setdefault(photo, row.identity) != row.identity:
            raise InputError(
                f"{table}: row {row.number}: '{row.file}' is of '{owners[photo]}' and of "
                f"'{row.identity}'"
            )
        if photo not in (theirs := photos.setdefault(row.identity, [])):
            theirs.append(photo)
    if not any(os.path.isfile(photo) for photo in owners):  # noqa: PTH113 - see `_beside`
        raise InputError(f"{table}: none of its {len(owners)} files is there, such as {photo}")
    # Missing files stay in: the bench names the photos that it couldn't read.
    return [Person(name, tuple(sorted(photos[name]))) for name in sorted(photos, key=_natural)]


def _natural(name: str) -> tuple[int, str]:
    return len(name) if name.isdecimal() else 0, name


def _table(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder")
    files = sorted(file for file in root.iterdir() if file.suffix.lower() == ".csv")
    if len(files) != 1:
        several = ", ".join(file.name for file in files[:3])
        why = f"several CSV files ({several}): name one" if files else "no CSV file in it"
        raise InputError(f"{root}: {why}")
    return files[0]


def _rows(table: Path) -> list[_Row]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            header = handle.readline()
            between = max(",;\t", key=header.count)
            handle.seek(0)
            rows = list(_values(tables.DictReader(handle, delimiter=between), table))
    except OSError as error:
        raise InputError(f"{table}: {one_line(error)}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table}: not UTF-8; save it as such") from error
    except tables.Error as error:
        raise InputError(f"{table}: not a readable CSV file ({error})") from error
    if not rows:
        raise InputError(f"{table}: no rows in it")
    return [row for row in rows if row.split.lower() == TEST] or rows


def _values(reader: tables.DictReader[str], table: Path) -> Iterator[_Row]:
    headings = {heading.strip().lower(): heading for heading in reader.fieldnames or () if heading}
    file = _column(headings, FILE, "files", table)
    identity = _column(headings, IDENTITY, "identities", table)
    split = next((headings[name] for name in SPLIT if name in headings), "")
    for number, row in enumerate(reader, 2):  # the first is that of the headings
        values = [(row.get(heading) or "").strip() for heading in (file, identity, split)]
        if not all(values[:2]):
            raise InputError(f"{table}: row {number}: no {'identity' if values[0] else 'file'}")
        yield _Row(number, *values)


def _column(headings: Mapping[str, str], names: Sequence[str], what: str, table: Path) -> str:
    if not (known := [headings[name] for name in names if name in headings]):
        raise InputError(
            f"{table}: no column of {what}: one of the headings should be {', '.join(names[:4])}; "
            f"there is {', '.join(headings) or 'nothing'}"
        )
    return known[0]


def _beside(folder: Path, row: _Row) -> Path:
    """Return where a file is: beside the table, or in its split's folder."""
    split_is_a_name = row.split and Path(row.split).name == row.split and row.split != ".."
    # Path.is_file would fail where a name is longer than names can be.
    if split_is_a_name and not os.path.isfile(folder / row.file):  # noqa: PTH113
        return folder / row.split / row.file
    return folder / row.file
