"""Which pictures a batch takes, and where each result goes: decided before anything is computed."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from srkit.errors import InputError
from srkit.files import require_apart
from srkit.imaging import codec, formats


@dataclass(frozen=True)
class Job:
    """One picture and where its result goes.

    Attributes:
        input: The picture.
        output: Its result.
        root: The folder that keeps the batch's manifest; None where the result of a single
            picture lies beside it.
    """

    input: Path
    output: Path
    root: Path | None = None


def plan(inputs: list[str], out: Path | None, label: str, suffix: str | None = None) -> list[Job]:
    """Decide where every result goes.

    A picture ``face.png`` becomes ``face-x4.png`` beside it, a folder ``faces`` the folder
    ``faces-x4`` with the same tree. With ``out``: a single picture goes to that file, if its
    suffix is a picture's, and all else into that folder under its own name. What a pattern finds
    keeps its place below the pattern's first folder with a wildcard.

    Args:
        inputs: Pictures, folders of pictures, and patterns (``photos/**/*.jpg``).
        out: As above.
        label: Goes into names, as ``x4``.
        suffix: Of all results, with its dot; that of the input if None, or PNG where the input's
            can't be written.

    Raises:
        InputError: An input is missing, or two results, or a result and an input, would meet.
    """
    jobs: list[Job] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            jobs += _of_folder(path, out, label, suffix)
        elif path.is_file():
            jobs.append(_of_file(path, out, label, suffix))
        elif glob.has_magic(given):
            jobs += _of_pattern(given, out, label, suffix)
        else:
            raise InputError(f"{given}: no such file or folder")
    jobs = list(dict.fromkeys(jobs))
    require_apart(
        ((job.input, [job.output]) for job in jobs),
        elsewhere="with --out",
        instead="rename one, or upscale them one by one",
    )
    return jobs


def _of_file(file: Path, out: Path | None, label: str, suffix: str | None) -> Job:
    ending = suffix or writable_suffix(file)
    if out is None:
        return Job(file, file.with_name(f"{file.stem}-{label}{ending}"))
    if out.suffix.lower() in formats.SUFFIXES and not out.is_dir():
        return Job(file, out.with_suffix(suffix) if suffix else out)
    return Job(file, out / f"{file.stem}{ending}", out)


def _of_folder(folder: Path, out: Path | None, label: str, suffix: str | None) -> list[Job]:
    whole = folder.resolve()
    root = out or whole.with_name(f"{whole.name}-{label}")
    if root.suffix.lower() in formats.SUFFIXES and not root.is_dir() and out is not None:
        raise InputError(f"{folder} is a folder; --out {out} must be a folder, too")
    resolved = root.resolve()
    return [
        Job(file, _renamed(root / file.relative_to(folder), file, suffix), root)
        for file in codec.listed(folder)
        # A second run must not take the first one's results for inputs.
        if resolved == whole or resolved not in file.resolve().parents
    ]


def _of_pattern(pattern: str, out: Path | None, label: str, suffix: str | None) -> list[Job]:
    # hidden files stay out, as everywhere
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207
    resolved = out.resolve() if out else None
    files = [
        file
        for file in found
        if file.is_file()
        and file.suffix.lower() in formats.SUFFIXES
        and (resolved is None or resolved not in file.resolve().parents)
    ]
    if not files:
        raise InputError(f"{pattern}: no picture fits this pattern")
    if out is None:
        return [_of_file(file, None, label, suffix) for file in files]
    plain: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        plain.append(part)
    base = Path(*plain) if plain else Path()
    return [Job(f, _renamed(out / f.relative_to(base), f, suffix), out) for f in files]


def _renamed(output: Path, given: Path, suffix: str | None) -> Path:
    ending = suffix or writable_suffix(given)
    return output if ending == output.suffix.lower() else output.with_suffix(ending)


def writable_suffix(file: Path) -> str:
    """Return the suffix under which a picture like this one can be written."""
    suffix = file.suffix.lower()
    return suffix if suffix in formats.WRITABLE else ".png"
