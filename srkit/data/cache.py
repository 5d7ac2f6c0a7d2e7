"""Images decoded once, in parallel, and stored as a numpy array for the next run.

Beside the array, ``KEY.npy``, lies ``KEY.json`` with what was found out about the images (which
are broken, the SHA-256 of the array). Both are written atomically, and read only if they agree.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import torch
from PIL import features
from torch import Tensor

from srkit.data.datasets import Dataset, decoded_or_message
from srkit.errors import InputError
from srkit.files import atomic, cache_folder, sweep
from srkit.readahead import cpus, read_ahead

FORMAT = "srkit decoded 2"
HELD_OUT = 20  # every so-manieth good image is held out where a set has no split for it
MOST_BROKEN = 0.1  # largest share of broken images; more, and something else must be wrong
CHUNK = 16  # images a thread takes at once; after Ctrl-C it does them to the end
DISK_SHARE = 0.9  # largest share of the free space that a file may take
ABANDONED = 24 * 3600  # seconds without a write to an unfinished file: its run was killed

Progress = Callable[[int, int], None]


class TooManyBrokenError(InputError):
    """So many images can't be read that something else must be wrong.

    Attributes:
        broken: One message for each broken image.
    """

    def __init__(self, broken: list[str], tried: int) -> None:
        self.broken = tuple(broken)
        first = "; ".join(broken[:3])
        super().__init__(f"{len(broken)} of {tried} images are broken, first {first}")


@dataclass
class Survey:
    """What decoding every image of a dataset found out.

    Attributes:
        parts: Rows of each image: 0 of a broken one, several of a pair cut into squares.
        reasons: By a broken image's number, what is wrong with it.
        whole: SHA-256 of all rows.
        train: SHA-256 of the rows that train where every `HELD_OUT`-th image doesn't.
    """

    parts: list[int]
    reasons: dict[int, str]
    whole: str
    train: str

    def rows(self, *, hold_out: bool) -> tuple[Tensor, Tensor]:
        """Return the places of (training, held-out) rows among all, int64."""
        parts = torch.tensor(self.parts)
        good = parts > 0
        held = good & ((good.cumsum(0) - 1) % HELD_OUT == 0) & hold_out
        held = held.repeat_interleave(parts)
        return (~held).nonzero().flatten(), held.nonzero().flatten()

    def places(self) -> Tensor:
        """Return (image, row within the image) of each row, int64, shape ``rows`` x 2."""
        parts = torch.tensor(self.parts)
        images = torch.arange(len(parts)).repeat_interleave(parts)
        return torch.stack(
            [images, torch.arange(len(images)) - (parts.cumsum(0) - parts)[images]], 1
        )

    def broken(self, dataset: Dataset) -> list[str]:
        """Return a message for each broken image."""
        return [f"{dataset.name(number)}: {why}" for number, why in self.reasons.items()]


@dataclass
class Decoded:
    """A dataset's images and what is known of them.

    Attributes:
        pixels: uint8, rows x `Layout.bytes`, in memory or mapped; None if only surveyed.
        notes: What the user should hear.
    """

    survey: Survey
    pixels: Tensor | None
    notes: list[str] = field(default_factory=list)


def default_folder() -> Path:
    """Return where decoded images are stored."""
    return cache_folder("decoded")


def array_file(dataset: Dataset, folder: Path) -> Path | None:
    """Return the cache file of a dataset, whether or not it is there; None if it can have none."""
    lines = dataset.identity()
    if lines is None:
        return None
    versions = f"{FORMAT}, Pillow {PIL.__version__}, {features.version_feature('libjpeg_turbo')}"
    text = "\n".join([versions, type(dataset).__name__, *lines])
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return folder / f"{key}.npy"


def has_room(dataset: Dataset, file: Path) -> bool:
    """Return whether a dataset's array is on the disk already, or fits there."""
    folders = (file.parent, *file.parent.absolute().parents)
    # Path.exists raises where it may not look.
    there = next(path for path in folders if os.path.exists(path))  # noqa: PTH110
    need = dataset.expected * dataset.layout.bytes
    return file.exists() or need <= DISK_SHARE * shutil.disk_usage(there).free


def decode(
    dataset: Dataset,
    file: Path | None,
    *,
    pixels: bool = True,
    mapped: bool = False,
    progress: Progress = lambda done, total: None,
) -> Decoded:
    """Return a dataset's images from its cache file, or decode them and write it.

    A disk that can't be written, or is full, is a note and no error.

    Args:
        dataset: Not empty.
        file: See `array_file`; None for none.
        pixels: Whether the images are wanted, or only what was found out about them.
        mapped: Whether they stay in the file, mapped into memory.
        progress: Called with the number of images done and of all.

    Raises:
        InputError: More than a tenth of the images are broken (`TooManyBrokenError`), or they
            are changing.
    """
    notes: list[str] = []
    if file is not None:
        with _noted(notes, file):
            if cached := _read(file, pixels=pixels, mapped=mapped):
                return cached
            sweep(file.parent, age=ABANDONED)
            if pixels:
                survey = _write_array(file, dataset, progress)
                _write_survey(file, survey)
                return Decoded(survey, _load(file, mapped))
    if pixels:
        decoded = _in_memory(dataset, progress)
    else:
        decoded = Decoded(_survey(dataset, lambda rows: None, progress), None)
        if file is not None and not notes:
            with _noted(notes, file):
                _write_survey(file, decoded.survey)
    return replace(decoded, notes=notes)


@contextmanager
def _noted(notes: list[str], file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        notes.append(f"can't store decoded images in {file.parent}: {why}")


def _in_memory(dataset: Dataset, progress: Progress) -> Decoded:
    # Memory for all; what broken ones leave of it is never touched, and so isn't taken up.
    array = np.empty((dataset.expected, dataset.layout.bytes), dtype=np.uint8)
    filled = 0

    def put(rows: np.ndarray) -> None:
        nonlocal filled
        if filled + len(rows) > len(array):
            raise InputError("images were changed while they were decoded; start again")
        array[filled : filled + len(rows)] = rows
        filled += len(rows)

    survey = _survey(dataset, put, progress)
    return Decoded(survey, torch.from_numpy(array)[:filled])


def _write_array(file: Path, dataset: Dataset, progress: Progress) -> Survey:
    if not has_room(dataset, file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with atomic(file) as temporary, temporary.open("wb") as out:
        _write_header(out, 0, dataset)
        survey = _survey(dataset, lambda rows: out.write(rows.data), progress)
        out.seek(0)  # numpy pads headers, so that the number of rows can grow in place
        _write_header(out, sum(survey.parts), dataset)
    return survey


def _write_header(out: IO[bytes], rows: int, dataset: Dataset) -> None:
    shape = (rows, dataset.layout.bytes)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)


def _write_survey(file: Path, survey: Survey) -> None:
    about = json.dumps(asdict(survey))
    with atomic(_survey_file(file)) as temporary:
        temporary.write_text(f"{_digest(about)}\n{about}", encoding="utf-8")


def _read(file: Path, *, pixels: bool, mapped: bool) -> Decoded | None:
    """Return what a cache file holds; None if it isn't there, or isn't whole."""
    try:
        digest, _, about = _survey_file(file).read_text(encoding="utf-8").partition("\n")
        if digest != _digest(about):
            return None
        values = json.loads(about)
        values["reasons"] = {int(number): why for number, why in values["reasons"].items()}
        survey = Survey(**values)
        if not pixels:
            return Decoded(survey, None)
        array = _load(file, mapped)
    except (FileNotFoundError, ValueError, TypeError, EOFError):
        return None
    whole = hashlib.sha256(array.numpy().data).hexdigest()
    return Decoded(survey, array) if whole == survey.whole else None


def _load(file: Path, mapped: bool) -> Tensor:
    with warnings.catch_warnings():
        # Nothing writes to it; a writable private mapping would count as memory that is needed.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.load(file, mmap_mode="r" if mapped else None))


def _survey_file(file: Path) -> Path:
    return file.with_suffix(".json")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _survey(dataset: Dataset, sink: Callable[[np.ndarray], object], progress: Progress) -> Survey:
    """Decode every image in parallel, and give the sink their rows in order.

    Raises:
        TooManyBrokenError: More than a tenth are broken.
    """
    parts: list[int] = []
    reasons: dict[int, str] = {}
    whole, train = hashlib.sha256(), hashlib.sha256()
    good = 0
    for number, result in enumerate(decoded_in_order(dataset)):
        if isinstance(result, str):
            reasons[number] = result.removeprefix(f"{dataset.name(number)}: ")
            parts.append(0)
        else:
            whole.update(result.data)
            if good % HELD_OUT:
                train.update(result.data)
            good += 1
            parts.append(len(result))
            sink(result)
        if len(parts) % CHUNK == 0 or len(parts) == len(dataset):
            progress(len(parts), len(dataset))
    survey = Survey(parts, reasons, whole.hexdigest(), train.hexdigest())
    if len(reasons) > MOST_BROKEN * len(dataset) or not any(parts):
        raise TooManyBrokenError(survey.broken(dataset), len(dataset))
    return survey


def decoded_in_order(dataset: Dataset) -> Generator[np.ndarray | str]:
    """Yield every image's rows, or a message in a broken one's place; read ahead, bounded.

    Threads will do: Pillow decodes and resizes without Python's lock.
    """

    def chunk(first: int) -> list[np.ndarray | str]:
        numbers = range(first, min(first + CHUNK, len(dataset)))
        return [decoded_or_message(dataset.decode, number) for number in numbers]

    starts = range(0, len(dataset), CHUNK)
    with closing(read_ahead(chunk, starts, threads=cpus())) as chunks:
        for results in chunks:
            yield from results
