"""Samples of a shard, read and written: folders of images, WebDataset's tar archives, Parquet."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow
import pyarrow.parquet

from srkit.errors import InputError, one_line
from srkit.imaging import codec, formats
from srkit_ray.plan import Shard, kind_of

ROWS, BYTES = 1000, 64 << 20  # of a row group, whichever is reached first
READ_ROWS = 16  # at a time: images may be large
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")  # WebDataset's: up to the first dot of a name


@dataclass
class Sample:
    """An image and what belongs to it."""

    label: str  # what messages call it; its suffix is the format's
    key: str  # name in the result, without a suffix
    image: bytes = b""
    error: str = ""  # why there is none, in one line
    prefix: str = ""  # in an archive, as left. of 0.left.png; the path that a Parquet cell states
    others: dict[str, bytes] = dataclasses.field(default_factory=dict)  # by what follows the key
    row: Any = None  # of a Parquet file, without the image


def samples(shard: Shard, column: str | None) -> Iterator[Sample]:
    """Yield a shard's samples; one that can't be read has an error.

    InputError: the shard can't be read at all, or ``column`` has no images.
    """
    if shard.files:
        return _of_files(shard)
    if kind_of(Path(shard.source)) == "tar":
        return _of_tar(shard)
    return _of_parquet(shard, column)


def _of_files(shard: Shard) -> Iterator[Sample]:
    for name, key in shard.files:
        sample = Sample(name, key)
        try:
            sample.image = Path(shard.source, name).read_bytes()
        except OSError as error:
            sample.error = f"{name}: can't be read ({one_line(error)})"
        yield sample


def _of_tar(shard: Shard) -> Iterator[Sample]:
    name = Path(shard.source).name
    seen: set[str] = set()
    try:
        with tarfile.open(shard.source, "r|*") as archive:
            for key, members in _grouped(archive):
                yield _sample(f"{name}/{key}", key, members, seen)
    # gzip's errors are OSError and EOFError
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        why = f"can't read {shard.source}: {one_line(error)}"
        if not seen:
            raise InputError(why) from error
        yield Sample(name, "", error=f"{why}; all that comes before is done")


def _grouped(archive: tarfile.TarFile) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Yield neighbours of one key together."""
    files = ((_KEY.fullmatch(member.name), member) for member in archive if member.isreg())
    named = ((match[1], match[2], member) for match, member in files if match)
    for key, group in itertools.groupby(named, key=lambda each: each[0]):
        yield key, [(name, _content(archive, member)) for _, name, member in group]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # of a regular file
    return file.read()


def _sample(label: str, key: str, members: list[tuple[str, bytes]], seen: set[str]) -> Sample:
    """Return the sample of some files; the image is the one without a second dot, or the only."""
    images = [name for name, _ in members if Path(f"x.{name}").suffix.lower() in codec.SUFFIXES]
    images = [name for name in images if "." not in name] or images
    others = dict(members)
    if key in seen or len(others) < len(members):
        return Sample(label, key, error=f"{label}: its name stands twice in the shard")
    seen.add(key)
    if len(images) != 1:
        return Sample(label, key, error=f"{label}: no image among its files, or several")
    (name,) = images
    prefix = name[: name.rfind(".") + 1]
    return Sample(f"{label}.{name}", key, others.pop(name), prefix=prefix, others=others)


class TarWriter:
    """Writes an archive whose bytes follow from its samples alone."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive

    def add(self, sample: Sample, encoded: bytes, suffix: str) -> str:
        """Write a sample with its new image; return what it is called in the result."""
        name = f"{sample.key}.{sample.prefix}{suffix[1:]}"
        others = dict(sample.others)
        if sample.row is not None:
            (row,) = sample.row.to_pylist()
            others["json"] = json.dumps(row, default=str, ensure_ascii=False).encode()
        members = {name: encoded} | {f"{sample.key}.{k}": other for k, other in others.items()}
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            self.archive.addfile(info, io.BytesIO(content))
        return name


def _of_parquet(shard: Shard, column: str | None) -> Iterator[Sample]:
    name, row = Path(shard.source).name, 0
    try:
        with pyarrow.parquet.ParquetFile(shard.source, buffer_size=1 << 20) as file:
            column = image_column(file.schema_arrow, column, shard.source)
            for batch in file.iter_batches(READ_ROWS):
                rest = batch.drop_columns([column])
                for place, cell in enumerate(batch.column(column).to_pylist()):
                    yield _of_cell(cell, f"{name}[{row}]", shard, row, rest.slice(place, 1))
                    row += 1
    except (pyarrow.ArrowException, OSError) as error:
        why = f"can't read {shard.source}: {one_line(error):.200}"
        if not row:
            raise InputError(why) from error
        yield Sample(name, "", error=f"{why}; all that comes before is done")


def _of_cell(cell: Any, label: str, shard: Shard, row: int, rest: Any) -> Sample:
    path = ""
    if isinstance(cell, dict):
        cell, path = cell["bytes"], cell.get("path") or ""
    sample = Sample(label, f"{shard.name}-{row:08d}", cell or b"", row=rest, prefix=path)
    if not cell:
        sample.error = f"{label}: no image in this row"
        return sample
    suffix = PurePosixPath(path).suffix.lower()
    sample.label += suffix if suffix in codec.SUFFIXES else formats.suffix_of(cell)
    return sample


def image_column(schema: Any, column: str | None, name: str) -> str:
    """Return the column that holds images: bytes, or a struct with ``bytes``, as of Hugging Face.

    InputError: there is none, or it isn't clear which.
    """
    columns = [field.name for field in schema if _holds_bytes(field.type)]
    chosen = column or ("image" if "image" in columns else None)
    if chosen is None and len(columns) == 1:
        (chosen,) = columns
    if chosen not in columns:
        known = ", ".join(columns) or "none"
        raise InputError(f"{name}: which column has the images? --column NAME; of bytes: {known}")
    return str(chosen)


def _holds_bytes(kind: Any) -> bool:
    if pyarrow.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


class ParquetWriter:
    """Writes a Parquet file: the input's columns, or ``key``, ``image`` and other files."""

    def __init__(self, file: Any, schema: Any, column: str) -> None:
        self.schema, self.column = schema, column
        self.rows: list[tuple[Sample, Any]] = []
        self.bytes = 0
        plain = [name for name in schema.names if name != column]
        self.writer = pyarrow.parquet.ParquetWriter(file, schema, use_dictionary=plain)

    def add(self, sample: Sample, encoded: bytes, suffix: str) -> str:
        """See `TarWriter.add`."""
        cell: Any = encoded
        kind = self.schema.field(self.column).type
        if pyarrow.types.is_struct(kind):
            path = str(PurePosixPath(sample.prefix).with_suffix(suffix)) if sample.prefix else None
            cell = {field.name: None for field in kind} | {"bytes": encoded}
            if "path" in cell:
                cell["path"] = path
        self.rows.append((sample, cell))
        self.bytes += len(encoded)
        if self.bytes >= BYTES or len(self.rows) >= ROWS:
            self.flush()
        return sample.key

    def flush(self) -> None:
        """Write what has come as a row group."""
        if not self.rows:
            return
        cells = [cell for _, cell in self.rows]
        columns: dict[str, Any] = {
            "key": [sample.key for sample, _ in self.rows],
            "files": [list(sample.others.items()) for sample, _ in self.rows],
        }
        if self.rows[0][0].row is not None:
            rest = pyarrow.Table.from_batches([sample.row for sample, _ in self.rows])
            columns = dict(zip(rest.column_names, rest.columns, strict=True))
        columns[self.column] = pyarrow.array(cells, self.schema.field(self.column).type)
        named = {name: columns[name] for name in self.schema.names}
        self.writer.write_table(pyarrow.table(named, schema=self.schema))
        self.rows, self.bytes = [], 0


@contextmanager
def writer(
    file: Path, suffix: str, shard: Shard, column: str | None
) -> Generator[TarWriter | ParquetWriter]:
    """Open a shard's result, ``.tar`` or ``.parquet``, for writing."""
    if suffix == ".tar":
        with file.open("wb") as out, tarfile.open(fileobj=out, mode="w|") as archive:
            yield TarWriter(archive)
        return
    others = pyarrow.map_(pyarrow.string(), pyarrow.binary())
    schema = pyarrow.schema({"key": pyarrow.string(), "image": pyarrow.binary(), "files": others})
    name = "image"
    if kind_of(Path(shard.source)) == "parquet" and not shard.files:
        try:
            schema = pyarrow.parquet.read_schema(shard.source)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"can't read {shard.source}: {one_line(error):.200}") from error
        name = image_column(schema, column, shard.source)
    rows = ParquetWriter(file, schema, name)
    with rows.writer:
        yield rows
        rows.flush()
