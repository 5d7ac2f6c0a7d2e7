"""A folder of photographs -> aligned faces, and a manifest of what became of every photo.

What becomes of a photo follows from its bytes and the settings alone, so it matters neither how
many processes share the work nor how often it was interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import srkit
from srkit.errors import InputError, Interrupted, OptionError
from srkit.files import sweep, write_text
from srkit.imaging import codec
from srkit.inference.device import device_named
from srkit_prepare import manifest
from srkit_prepare.manifest import Row
from srkit_prepare.worker import Job, Settings, digest, work

__all__ = ["Settings", "Summary", "prepare"]

SETTINGS = "prepare.json"
FORMAT = 2  # of the folder: what the crops of some settings are

Known = Mapping[str, list[Row]]


@dataclass(frozen=True)
class Summary:
    """What became of all photos, those that an earlier run has done among them.

    Attributes:
        photos: Number of photos.
        done_before: How many of them an earlier run has done.
        written: Faces with a crop.
        rejected: How many faces were rejected, by reason.
        no_face: Photos without any.
        unreadable: One line for each photo that can't be read.
        removed: Photos that are gone since an earlier run, and their crops with them.
        manifest: The file with all of it.
    """

    photos: int
    done_before: int
    written: int
    rejected: dict[str, int]
    no_face: int
    unreadable: tuple[str, ...]
    removed: int
    manifest: Path


def prepare(
    photos: str | Path,
    out: str | Path,
    settings: Settings | None = None,
    *,
    workers: int = 1,
    device: str = "auto",
    report: Callable[[int, int], None] = lambda done, photos: None,
) -> Summary:
    """Find the faces of all photos in a folder, align them as CelebA's are, and write them.

    A second call with the same settings does only what is new, has changed or was left undone.

    Args:
        photos: A folder; all that is in it is searched for images, but for ``out``.
        out: Gets the crops by the photos' names (``sub/photo.jpg`` becomes ``sub/photo_0.png``,
            ``sub/photo_1.png``, the largest face first), the manifest, and the settings.
        settings: Its defaults if None.
        workers: Processes, each with one thread; for few photos, fewer are begun. A script that
            asks for several must have its own code under ``if __name__ == "__main__":``.
        device: Where faces are looked for.
        report: Called with how many photos are done, and how many there are.

    Raises:
        InputError: No images, none that can be read, or ``out`` holds something else.
        OptionError: ``out`` was prepared with other settings.
        Interrupted: SIGINT or SIGTERM; the same call goes on.
    """
    photos, out, settings = Path(photos), Path(out), settings or Settings()
    jobs = plan(photos, out)
    device = str(device_named(device))
    finished, unfinished = out / manifest.FILE, out / manifest.UNFINISHED
    done = 0
    try:
        with _terminated_as_interrupted():
            known = _known(out, settings)
            same = _unchanged(photos, jobs, known)
            if known and not same:
                raise InputError(f"{out} holds the faces of other photos; choose another folder")
            kept = {job.photo: known[job.photo] for job in same if _is_whole(out, job, known)}
            rows = [row for photo_rows in kept.values() for row in photo_rows]
            sweep(out, below=True)
            manifest.write(unfinished, rows)
            _remove(out, (row for photo in known.keys() - kept.keys() for row in known[photo]))
            report(done := len(kept), len(jobs))
            left = [job for job in jobs if job.photo not in kept]
            with closing(work(left, photos, out, settings, device, workers)) as working:
                for photo_rows in working:
                    manifest.append(unfinished, photo_rows)
                    rows += photo_rows
                    report(done := done + 1, len(jobs))
            rows.sort(key=manifest.order)
            manifest.write(finished, rows)
            unfinished.unlink()
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped with {done} of {len(jobs)} photos done; the same command goes on from there"
        ) from None
    except OSError as error:
        raise InputError(f"can't write to {out}: {error}") from error
    gone = known.keys() - {job.photo for job in jobs}
    summary = _summary(rows, len(kept), len(gone), finished)
    if len(summary.unreadable) == len(jobs):
        what = summary.unreadable[0]
        raise InputError(f"none of {len(jobs)} images in {photos} can be read; the first: {what}")
    return summary


def plan(photos: Path, out: Path) -> list[Job]:
    """Decide how every photo's crops are called.

    That is the photo's name without its suffix, and with it where another's would be the same.

    Raises:
        InputError: No images, or crops would be among the photos.
    """
    here, there = photos.resolve(), out.resolve()
    if here == there or there in here.parents:
        raise InputError(f"the photos lie in {out}, where the faces would go; choose another place")
    listed = codec.listed(photos)
    if there.is_relative_to(here):
        inside = f"{photos / there.relative_to(here)}{os.sep}"
        listed = [file for file in listed if not str(file).startswith(inside)]
    if not listed:
        raise InputError(f"{photos}: no images in it but those in {out}")
    files = [PurePosixPath(file.relative_to(photos).as_posix()) for file in listed]
    # Case counts for no difference: on some systems it makes none.
    stems = Counter(str(file.with_suffix("")).casefold() for file in files)
    names = {str(file).casefold() for file in files}
    jobs = []
    for file in files:
        stem = str(file.with_suffix(""))
        unique = stems[stem.casefold()] == 1 and stem.casefold() not in names
        jobs.append(Job(str(file), stem if unique else str(file)))
    return jobs


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _known(out: Path, settings: Settings) -> dict[str, list[Row]]:
    """Return what earlier runs have done in ``out``; begin there if there was none."""
    file = out / SETTINGS
    now = {"format": FORMAT, "settings": asdict(settings), "srkit": srkit.__version__}
    if not file.is_file():
        if out.exists() and (not out.is_dir() or any(p.name[0] != "." for p in out.iterdir())):
            raise InputError(f"{out} holds something else than faces; choose another folder")
        write_text(file, json.dumps(now, indent=2) + "\n")
        return {}
    try:
        then = json.loads(file.read_text(encoding="utf-8"))
        begun_with = {"format": then["format"]} | then["settings"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file} is broken; choose another folder") from error
    wanted = {"format": FORMAT} | asdict(settings)
    changed = [k for k in wanted if wanted[k] != begun_with.get(k)]
    if changed:
        what = ", ".join(f"{k} {begun_with.get(k)}, not {wanted[k]}" for k in changed)
        raise OptionError(f"{out} was prepared with {what}; choose another folder")
    return manifest.read(out / manifest.FILE) | manifest.read(out / manifest.UNFINISHED)


def _unchanged(photos: Path, jobs: list[Job], known: Known) -> list[Job]:
    """Return the photos that are known, and have the bytes that they had."""
    known_jobs = [job for job in jobs if job.photo in known]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(lambda job: digest(photos / job.photo), known_jobs)
        # One that couldn't be read at all had none; `_is_whole` will say that it isn't done.
        return [
            job
            for job, sha256 in zip(known_jobs, digests, strict=True)
            if known[job.photo][0]["sha256"] in (sha256, "")
        ]


def _is_whole(out: Path, job: Job, known: Known) -> bool:
    """Say whether a photo was read, and all of its crops are there under the names they'd get."""
    rows = known[job.photo]
    crops = ((job.crop(int(row["face"])), row["output"]) for row in rows if row["output"])
    return rows[0]["sha256"] != "" and all(
        name == output and (out / output).is_file() for name, output in crops
    )


def _remove(out: Path, rows: Iterable[Row]) -> None:
    """Delete the crops of rows, so that no training uses those of photos that have changed."""
    folder = out.resolve()
    for row in rows:
        crop = out / row["output"]
        # The manifest might have been edited: nothing outside of its folder is deleted.
        if row["output"] and folder in crop.resolve().parents:
            crop.unlink(missing_ok=True)


def _summary(rows: list[Row], done_before: int, removed: int, file: Path) -> Summary:
    status = Counter(row["status"] for row in rows)
    rejected = [row for row in rows if row["status"] == manifest.REJECTED]
    unreadable = [row for row in rows if row["status"] == manifest.UNREADABLE]
    return Summary(
        photos=len({row["photo"] for row in rows}),
        done_before=done_before,
        written=status[manifest.WRITTEN],
        rejected=dict(Counter(row["reason"].partition(":")[0] for row in rejected).most_common()),
        no_face=status[manifest.NO_FACE],
        unreadable=tuple(f"{row['photo']}: {row['reason']}" for row in unreadable),
        removed=removed,
        manifest=file,
    )
