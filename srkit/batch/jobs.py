"""Which images a batch takes, and where each result goes: decided before anything is computed."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

from PIL import Image

from srkit import torchrun
from srkit.batch.ledger import Ledger
from srkit.errors import InputError, OptionError
from srkit.files import real
from srkit.imaging import codec, formats

_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
FOLDER = ".srkit-upscale"  # of the ledger, in the results' folder


@dataclass(frozen=True)
class Job:
    """One image and where its result goes; ``-`` is a pipe, with a suffix as an output."""

    input: Path
    output: Path
    root: Path | None = None  # keeps the ledger; None: a single result beside its image
    encoded: bytes | None = None  # the input's file, if it came through a pipe
    piped: bool = False  # whether the result's file stays in memory


@dataclass(frozen=True)
class Shard:
    """One of ``count`` equal parts of a batch; ``index`` counts from 0."""

    index: int = 0
    count: int = 1

    def take(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Return the jobs that are in it."""
        return jobs[self.index :: self.count]

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    @classmethod
    def of(cls, text: str | None) -> Shard:
        """Return the shard that a user writes as ``2/5``, or else that of torchrun's process."""
        if text is None:
            rank, count = torchrun.number("RANK", 0), torchrun.number("WORLD_SIZE", 1)
            return cls(rank, count) if rank < count else cls()
        match = _SHARD.fullmatch(text.strip())
        index, size = (int(number) for number in match.groups()) if match else (0, 0)
        if not 1 <= index <= size:
            raise OptionError(f"a shard is written as 2/5, the second of five, not '{text}'")
        return cls(index - 1, size)


def plan(
    inputs: list[str],
    out: Path | None,
    label: str,
    suffix: str | None = None,
    others: list[Path] | None = None,
) -> list[Job]:
    """Decide where every result goes.

    An image ``face.png`` becomes ``face-x4.png`` beside it, a folder ``faces`` the folder
    ``faces-x4`` with the same tree. With ``out``: a single image goes to that file, if its
    suffix is an image's, and all else into that folder under its own name. Files of a pattern
    keep their places below the pattern's first folder with a wildcard. Where ``a.jpg`` and
    ``a.bmp`` would both become ``a.png``, they become ``a-jpg.png`` and ``a-bmp.png``; where two
    files called ``a.png`` would, the second becomes ``a-2.png``.

    Args:
        inputs: Images, folders of images, and patterns (``photos/**/*.jpg``).
        out: As above.
        label: Goes into names, as ``x4``.
        suffix: Suffix of all results, with its dot; the input's if None, or PNG where the input's
            can't be written.
        others: Takes the files of folders and patterns that are no images by their suffix.

    Raises:
        InputError: An input is missing, or a result would be written over one.
    """
    jobs: list[Job] = []
    others = others if others is not None else []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            jobs += _of_folder(path, out, label, suffix, others)
        elif path.is_file():
            jobs.append(of_file(path, out, label, suffix))
        elif glob.has_magic(name):
            jobs += _of_pattern(name, out, label, suffix, others)
        else:
            raise InputError(f"{name}: no such file or folder")
    return _apart(list({(real(job.input), job.output): job for job in jobs}.values()))


def _apart(jobs: list[Job]) -> list[Job]:
    """Give results that would meet names of their own; the others keep theirs.

    InputError: a result would be written over an input.
    """
    places = [real(job.output) for job in jobs]
    count, taken = Counter(places), {real(job.input) for job in jobs}
    for job, place in zip(jobs, places, strict=True):
        if place in taken:
            raise InputError(f"{job.output} is an input; choose another place for the results")
    taken |= {place for place in places if count[place] == 1}
    return [
        job if count[place] == 1 else replace(job, output=_free(job, taken))
        for job, place in zip(jobs, places, strict=True)
    ]


def _free(job: Job, taken: set[Path]) -> Path:
    """Return a name for a result that is not taken yet, and take it."""
    output, old = job.output, job.input.suffix
    if old.lower() != output.suffix.lower():
        output = output.with_stem(f"{output.stem}-{old[1:]}")
    more = (output.with_stem(f"{output.stem}-{number}") for number in itertools.count(2))
    free = next(file for file in itertools.chain([output], more) if real(file) not in taken)
    taken.add(real(free))
    return free


def of_file(file: Path, out: Path | None, label: str, suffix: str | None) -> Job:
    """Return the job of one file; arguments, and what it raises, as `plan`'s."""
    ending = suffix or writable_suffix(file)
    if out is None:
        return Job(file, file.with_name(f"{file.stem}-{label}{ending}"))
    if not out.is_dir() and out.suffix.lower() in _image_suffixes():
        if out.suffix.lower() not in formats.WRITABLE:
            known = ", ".join(sorted(formats.WRITABLE))
            raise InputError(f"can't write {out}; a file ends in {known}")
        if suffix and formats.WRITTEN[suffix] != formats.WRITTEN[out.suffix.lower()]:
            raise InputError(f"{out} is no {suffix} file: name one, or leave out --format")
        return Job(file, out)
    return Job(file, out / f"{file.stem}{ending}", out)


def _image_suffixes() -> set[str]:
    """Return the suffixes by which people mean a file: no folder is called ``photo.gif``."""
    return {*Image.registered_extensions(), *formats.SUFFIXES, ".heic", ".heif", ".jxl", ".svg"}


def _of_folder(
    folder: Path, out: Path | None, label: str, suffix: str | None, others: list[Path]
) -> list[Job]:
    whole = real(folder)
    root = out or whole.with_name(f"{whole.name}-{label}")
    named = out and (os.path.lexists(out) or out.suffix.lower() in _image_suffixes())
    if named and not root.is_dir():
        raise InputError(f"{folder} is a folder; {out} must be a folder, too")
    jobs = _below(codec.listed(folder, others), folder, root, suffix)
    if not jobs:
        raise InputError(f"{folder}: no images in it but those in {root}")
    return jobs


def _of_pattern(
    pattern: str, out: Path | None, label: str, suffix: str | None, others: list[Path]
) -> list[Job]:
    # hidden files stay out, as everywhere
    files = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    others += [file for file in files if file.is_file() and not _is_image(file)]
    # The shortest way to a file: links to folders may go round in circles.
    ways = {
        (real(file.parent), file.name): file
        for file in sorted(files, key=lambda file: (-len(file.parts), file))
        if file.is_file() and _is_image(file)
    }
    files = sorted(ways.values())
    if out is None:
        folders = {file.parent for file in files}
        results = set().union(*(Ledger(folder, FOLDER).files() for folder in folders))
        jobs = [of_file(file, None, label, suffix) for file in files if file not in results]
    else:
        base = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1])
        jobs = _below(files, Path(*base), out, suffix)
    if not jobs:
        raise InputError(f"{pattern}: no image fits this pattern")
    return jobs


def _below(files: list[Path], base: Path, root: Path, suffix: str | None) -> list[Job]:
    """Return the jobs of files whose results keep their places below a folder.

    A second run must not take the first one's results for inputs: what is in ``root`` is left out,
    unless all inputs are.
    """
    results, place, jobs = real(root), real(base), []
    for file in files:
        if results in (place, *place.parents) or results not in real(file).parents:
            output, ending = root / file.relative_to(base), suffix or writable_suffix(file)
            output = output if ending == output.suffix.lower() else output.with_suffix(ending)
            jobs.append(Job(file, output, root))
    return jobs


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in formats.SUFFIXES


def writable_suffix(file: Path) -> str:
    """Return the suffix under which an image like this one can be written."""
    suffix = file.suffix.lower()
    return suffix if suffix in formats.WRITABLE else ".png"
