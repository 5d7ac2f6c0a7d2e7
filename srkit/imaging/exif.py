"""Directories of EXIF and TIFF (TIFF 6.0, section 2; EXIF 3.0, section 4.6).

Values stay the same bytes at the same place, since makers' notes hold offsets from the beginning.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

PREFIX = b"Exif\0\0"
EMPTY = b"II*\0\x08\0\0\0" + bytes(6)  # EXIF without entries
EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005  # entries that point to directories
MAKER_NOTE = 0x927C
ORIENTATION, X_RESOLUTION, Y_RESOLUTION = 0x0112, 0x011A, 0x011B
_WIDTH, _HEIGHT = 0xA002, 0xA003
_THUMBNAIL, _THUMBNAIL_LENGTH = 0x0201, 0x0202
# A TIFF's tags that say how its bytes lie; every writer has its own.
LAYOUT = frozenset(
    {*range(0x00FE, 0x010B), 0x0111, *range(0x0115, 0x011A), 0x011C, *range(0x0120, 0x0126)}
    | {0x012D, *range(0x013D, 0x0144), *range(0x0147, 0x0160), *range(0x0200, 0x0215)}
)
# Of these, those whose values may be long.
_ARRAYS = frozenset({0x0111, 0x0117, 0x0120, 0x0121, 0x0144, 0x0145})
# Sizes and places in the old image, and of the sensor's pixels.
ELSEWHERE = {700, 33_723, 34_377, 34_675}  # XMP, IPTC, Photoshop's, profile: kept on their own
_STALE = LAYOUT | ELSEWHERE | {ORIENTATION, 0x1001, 0x1002, 0x9102, 0x9214}
_STALE |= {0xA20E, 0xA20F, 0xA210, 0xA214}
_FURTHEST_NOTE = 2**15  # where a maker's note of a TIFF may begin in EXIF, which JPEG limits
_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "s", 8: "h", 9: "i", 10: "2i"}
_TYPES |= {11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q", 129: "s"}


@dataclass(frozen=True)
class Entry:
    """An entry of a directory: its values as bytes, and where they lie (0 if it doesn't matter)."""

    tag: int
    kind: int
    value: bytes
    at: int = 0


class Directories:
    """The directories of EXIF, a TIFF or a BigTIFF: the first one and those of EXIF below it.

    ValueError: it is something else, or cut off.

    Attributes:
        order: Order of bytes, as `struct` calls it.
        below: Entries by the tag that points to their directory, 0 for the first.
        following: Where the next page or the thumbnail is; 0 if there is none.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._end = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(16)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = self.number(head[2:4])
        if not self.order or version not in (42, 43):
            raise ValueError("no EXIF")
        self._wide = version == 43
        self.places: dict[int, range] = {}
        self.below: dict[int, list[Entry]] = {EXIF: [], GPS: [], INTEROP: []}
        first = head[8:16] if self._wide else head[4:8]
        self.below[0], self.following = self._read(0, self.number(first))
        for above, tag in ((0, EXIF), (0, GPS), (EXIF, INTEROP)):
            if pointer := self.find(tag, above):
                try:
                    self.below[tag], _ = self._read(tag, self.number(pointer.value))
                except ValueError:  # its entry goes, too
                    self.below[above].remove(pointer)

    def number(self, value: bytes) -> int:
        """Return the number that some bytes are."""
        return int.from_bytes(value, "little" if self.order == "<" else "big")

    def find(self, tag: int, directory: int = 0) -> Entry | None:
        """Return the entry of a tag."""
        return next((entry for entry in self.below[directory] if entry.tag == tag), None)

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Return the values of a tag of the first directory; fractions as numbers."""
        entry = self.find(tag)
        form = _TYPES[entry.kind] if entry else "s"
        if entry is None or form == "s":
            return ()
        values = list(struct.iter_unpack(self.order + form, entry.value))
        return tuple(v[0] if len(v) == 1 else v[0] / v[1] if v[1] else float("nan") for v in values)

    def _read(self, name: int, at: int) -> tuple[list[Entry], int]:
        """Return the directory at a place and where the next one is; broken entries are left out.

        ValueError: it is cut off, or another one overlaps it: to edit both would break them.
        """
        count_size, room, row = (8, 8, 20) if self._wide else (2, 4, 12)
        count = self.number(self._bytes(at, count_size))
        start, end = at + count_size, at + count_size + row * count
        place = range(at, end + room)
        others = self.places.values()
        if any(place.start < other.stop and other.start < place.stop for other in others):
            raise ValueError("directories overlap")
        content = self._bytes(start, end - start + room)
        entries = []
        for offset in range(0, row * count, row):
            tag, kind = struct.unpack_from(f"{self.order}HH", content, offset)
            values = self.number(content[offset + 4 : offset + 4 + room])
            field = content[offset + row - room : offset + row]
            length = values * struct.calcsize(f"={_TYPES.get(kind, '')}")
            where = self.number(field) if length > room else 0
            if length > 0 and where + length <= self._end and not (name == 0 and tag in _ARRAYS):
                value = self._bytes(where, length) if where else field[:length]
                entries.append(Entry(tag, kind, value, where))
        self.places[name] = place
        return entries, self.number(content[-room:])

    def _bytes(self, at: int, length: int) -> bytes:
        if at + length > self._end:
            raise ValueError("cut off")
        self._stream.seek(at)
        return self._stream.read(length)

    def drop_thumbnail(self) -> range:
        """Forget the small image that follows; return its place, empty if there is none."""
        try:
            self.below[_THUMBNAIL], _ = self._read(_THUMBNAIL, self.following)
        except ValueError:
            return range(0)
        start, length = (
            self.number(entry.value) if (entry := self.find(tag, _THUMBNAIL)) else 0
            for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH)
        )
        self.below[_THUMBNAIL] = []
        return range(start, min(start + length, self._end))

    def edit(self, size: tuple[int, int] | None = None) -> int | None:
        """Remove what is wrong for a new, upright image, and set that image's size.

        The orientation that was stated is returned, 1 (upright) to 8, or None.
        """
        stated = self.find(ORIENTATION)
        number = self.number(stated.value) if stated and stated.kind in (1, 3, 4) else 0
        turn = number if 1 <= number <= 8 else 1
        across = {X_RESOLUTION: Y_RESOLUTION, Y_RESOLUTION: X_RESOLUTION} if turn > 4 else {}
        for name, entries in self.below.items():
            kept = [e for e in entries if e.tag not in _STALE]
            if name == 0:
                kept = [replace(e, tag=across.get(e.tag, e.tag)) for e in kept]
            elif name == EXIF and size:
                sides = dict(zip((_WIDTH, _HEIGHT), size, strict=True))
                kept = [self.entry(e.tag, 4, sides[e.tag]) if e.tag in sides else e for e in kept]
            self.below[name] = kept
        for above, tag in ((EXIF, INTEROP), (0, EXIF), (0, GPS)):  # of what is empty now
            if not self.below[tag]:
                self.below[above] = [e for e in self.below[above] if e.tag != tag]
        return turn if stated else None

    def entry(self, tag: int, kind: int, *numbers: int) -> Entry:
        """Return an entry of whole numbers; a fraction is two."""
        form = f"{self.order}{len(numbers)}{_TYPES[kind][-1]}"
        return Entry(tag, kind, struct.pack(form, *numbers))

    def rows(
        self, entries: Iterable[Entry], place: Callable[[Entry], int], *, wide: bool = False
    ) -> bytes:
        """Return a directory as a file (``wide``: a BigTIFF) holds it.

        ``place`` says where the values of an entry lie that don't fit into it.
        """
        room, number = (8, "Q") if wide else (4, "I")
        result = b""
        entries = sorted(entries, key=lambda entry: entry.tag)
        for each in entries:
            field = each.value.ljust(room, b"\0")
            if len(each.value) > room:
                field = struct.pack(self.order + number, place(each))
            values = len(each.value) // struct.calcsize(f"={_TYPES[each.kind]}")
            result += struct.pack(f"{self.order}HH{number}", each.tag, each.kind, values) + field
        count = struct.pack(self.order + ("Q" if wide else "H"), len(entries))
        return count + result + bytes(room)

    def write(self, out: BinaryIO, entries: Iterable[Entry], *, wide: bool = False) -> int:
        """Append a directory to a file, and the values that lie nowhere yet; return its place."""

        def append(content: bytes) -> int:
            at = out.seek(0, 2)
            out.write(bytes(at % 2) + content)
            return at + at % 2

        place = lambda each: each.at or append(each.value)  # noqa: E731
        return append(self.rows(entries, place, wide=wide))

    def head(self, first: int, *, wide: bool = False) -> bytes:
        """Return how a file begins whose first directory is at a place."""
        mark = b"II" if self.order == "<" else b"MM"
        if wide:
            return mark + struct.pack(f"{self.order}HHHQ", 43, 8, 0, first)
        return mark + struct.pack(f"{self.order}HI", 42, first)

    def write_all(self, out: BinaryIO, first: Iterable[Entry], *, wide: bool = False) -> int:
        """Append a first directory and copies of those of EXIF below it; return its place."""
        pointers: dict[int, dict[int, Entry]] = {0: {}, EXIF: {}}
        for above, tag in ((EXIF, INTEROP), (0, EXIF), (0, GPS)):
            if self.below[tag]:
                entries = {e.tag: e for e in self.below[tag]} | pointers.get(tag, {})
                at = self.write(out, entries.values(), wide=wide)
                pointers[above][tag] = self.entry(tag, 16 if wide else 4, at)
        return self.write(out, ({e.tag: e for e in first} | pointers[0]).values(), wide=wide)


def parsed(exif: bytes) -> Directories:
    """Return the directories of EXIF, with or without the six bytes that it begins with in JPEG."""
    return Directories(BytesIO(_bare(exif)))


def _bare(exif: bytes) -> bytes:
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    return exif


def edited(exif: bytes, size: tuple[int, int] | None = None) -> tuple[bytes, int | None]:
    """Remove from EXIF what is wrong for a new, upright image, and set that image's size.

    The orientation that it stated is returned too. ValueError: it isn't EXIF, or is cut off.
    """
    data, directories = bytearray(_bare(exif)), parsed(exif)
    thumbnail = directories.drop_thumbnail()
    stated = directories.edit(size)
    data[thumbnail.start : thumbnail.stop] = bytes(len(thumbnail))
    for name, place in directories.places.items():
        rows = directories.rows(directories.below[name], lambda entry: entry.at)
        data[place.start : place.stop] = rows.ljust(len(place), b"\0")
    if thumbnail and thumbnail.stop == len(data):
        del data[thumbnail.start :]
    return (PREFIX + bytes(data) if directories.below[0] else b""), stated


def of_tiff(directories: Directories) -> tuple[bytes, bool]:
    """Return EXIF of a TIFF's edited entries, and whether a maker's note had to leave its place."""
    note = directories.find(MAKER_NOTE, EXIF)
    moved = note is not None and not 8 <= note.at < _FURTHEST_NOTE
    out = BytesIO(bytes(8))
    if note and moved:
        directories.below[EXIF].remove(note)
    elif note:
        out.seek(note.at)
        out.write(note.value)
    for name, entries in directories.below.items():
        directories.below[name] = [e if e is note else replace(e, at=0) for e in entries]
    first = directories.write_all(out, directories.below[0])
    out.seek(0)
    out.write(directories.head(first))
    return (PREFIX + out.getvalue() if directories.below[0] else b""), moved
