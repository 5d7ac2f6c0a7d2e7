"""The one reader of what others may have written: JSON and TOML, checked by a type, and pickles."""

from __future__ import annotations

import json
import math
import tomllib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from srkit.errors import InputError, SrkitError, refused
from srkit.options import validated

T = TypeVar("T")

LARGEST = 64 * 2**20  # bytes
_TOML, _DOTS = 2**20, 500  # characters, and dots of a line: its parser's time grows by their square
DEEPEST = 64  # tables and lists within each other

MOST = 1e100  # a finite number in JSON: sums of larger ones may be none


_PARSERS: dict[str, Callable[[str], Any]] = {"JSON": json.loads, "TOML": tomllib.loads}


def read(
    file: Path,
    note: type[T],
    form: Literal["JSON", "TOML"],
    *,
    error: type[SrkitError] = InputError,
    largest: int = LARGEST,
) -> T:
    """Return what a file (UTF-8) holds, as the type it is meant for; see `parse`.

    InputError: the file can't be read, or is larger than ``largest`` bytes.
    """
    try:
        with refused(f"can't read {file}"):
            if (size := file.stat().st_size) > largest:
                raise InputError(f"{file}: {size / 2**20:.0f} MiB, more than {largest >> 20}")
            text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as failure:
        raise InputError(f"can't read {file}: it isn't text (UTF-8)") from failure
    return parse(text, note, form, str(file), error=error)


def parse(
    text: str,
    note: type[T],
    form: Literal["JSON", "TOML"],
    origin: str,
    *,
    error: type[SrkitError] = InputError,
) -> T:
    """Return what a text says, as the type it is meant for, any that pydantic knows.

    An ``error`` begins with ``origin`` and says in one line that the text isn't JSON or TOML or is
    nested too deeply, or which value is missing or wrong.
    """
    if form == "TOML" and (
        len(text) > _TOML or max(line.count(".") for line in text.split("\n")) > _DOTS
    ):
        raise error(f"{origin}: too large, or nested more than {DEEPEST} deep")
    try:
        values = _PARSERS[form](text)
        _require_plain(values, MOST if form == "JSON" else math.inf)
    except RecursionError as failure:
        raise error(f"{origin}: nested more than {DEEPEST} deep") from failure
    except ValueError as failure:  # numbers of thousands of digits among them
        raise error(f"{origin}: not {form}: {failure}") from failure
    return validated(note, values, origin, error=error)


def _require_plain(value: Any, most: float, depth: int = 0) -> None:
    """Raise RecursionError where it is nested too deeply, ValueError for too large a number."""
    if isinstance(value, int | float) and most < abs(value) < math.inf:
        raise ValueError(f"a number beyond {most:g}")
    if isinstance(value, dict | list):
        if depth > DEEPEST:
            raise RecursionError
        for inner in value.values() if isinstance(value, dict) else value:
            _require_plain(inner, most, depth + 1)


def tensors(file: Path) -> Any:
    """Return what a pickle of tensors holds, by torch's reader that calls nothing a file names.

    InputError: it can't be read, unpacks to much more, or holds more than tensors.
    """
    import torch

    try:
        with refused(f"can't read {file}"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickles
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    size = sum(entry.file_size for entry in archive.infolist())
                if size > 2 * file.stat().st_size:
                    more = f"{size / 2**20:.0f} MiB, more than twice its size"
                    raise InputError(f"{file}: unpacks to {more}")
            return torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    # A torn or hostile pickle can raise anything at all.
    except Exception as error:
        raise InputError(
            f"{file}: damaged, or more than tensors, which only its own code could read; nothing "
            "of it was run; ask for the weights as .safetensors"
        ) from error
