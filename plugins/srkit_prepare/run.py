"""A folder of photographs -> aligned faces, and a manifest of what became of every photo.

What becomes of a photo follows from its bytes and the settings alone, so it matters neither how
many processes share the work nor how often it was interrupted.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from srkit.batch.ledger import Ledger, begin, require_free
from srkit.errors import InputError, Interrupted, terminated_as_interrupted
from srkit.files import lock, real, sweep
from srkit.imaging import codec
from srkit.inference.device import device_named
from srkit.readahead import read_ahead
from srkit_prepare.record import Line, Record
from srkit_prepare.worker import Job, Settings, checksum, work

__all__ = ["Settings", "Summary", "prepare"]

SETTINGS = "prepare.json"
MANIFEST = "manifest"  # the ledger: .jsonl
FORMAT = 3  # of the folder: what the crops of some settings are, and their records


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
        OptionError: ``out`` was begun with other settings.
        Interrupted: SIGINT or SIGTERM; the same call goes on.
    """
    photos, out, settings = Path(photos), Path(out), settings or Settings()
    jobs = plan(photos, out)
    device = str(device_named(device))
    done = 0
    try:
        require_free(out / SETTINGS)  # before the folder is made
        with terminated_as_interrupted(), lock(out):
            begin(out / SETTINGS, asdict(settings), FORMAT)
            ledger = Ledger(out, ".", MANIFEST, Line)
            lines = cast("dict[str, Line]", ledger.rows)
            known = {photo: line for photo, line in lines.items() if line["status"] != "gone"}
            same = _unchanged(photos, jobs, known)
            if known and not same:
                raise InputError(f"{out} holds the faces of other photos; choose another folder")
            records: dict[str, Record] = {
                job.photo: known[job.photo] for job in same if _is_whole(ledger, job)
            }
            before = len(records)
            sweep(out, below=True)
            for photo in known.keys() - records.keys():
                _remove(out, known[photo])
            gone = known.keys() - {job.photo for job in jobs}
            for photo in sorted(gone):
                ledger.add(photo, [], sha256="", status="gone", reason="", faces=[])
            report(done := before, len(jobs))
            left = [job for job in jobs if job.photo not in records]
            with closing(work(left, photos, out, settings, device, workers)) as working:
                for job, record in working:
                    crops = [out / face["output"] for face in record["faces"] if face["output"]]
                    ledger.add(job.photo, crops, **record)
                    records[job.photo] = record
                    report(done := done + 1, len(jobs))
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped with {done} of {len(jobs)} photos done; the same command goes on from there"
        ) from None
    except OSError as error:
        raise InputError(f"can't write to {out}: {error}") from error
    summary = _summary(records, before, len(gone), ledger.file)
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
    here, there = real(photos), real(out)
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


def _unchanged(photos: Path, jobs: list[Job], known: Mapping[str, Line]) -> list[Job]:
    """Return the photos that are known, and have the bytes that they had."""
    known_jobs = [job for job in jobs if job.photo in known]
    checksums = read_ahead(lambda job: checksum(photos / job.photo), known_jobs)
    # One that couldn't be read at all had none; `_is_whole` will say that it isn't done.
    return [
        job
        for job, sha256 in zip(known_jobs, checksums, strict=True)
        if known[job.photo]["sha256"] in (sha256, "")
    ]


def _is_whole(ledger: Ledger, job: Job) -> bool:
    """Say whether a photo was read, and its crops are there under the names they'd get."""
    line = cast("Line | None", ledger.find(job.photo))
    return (
        line is not None
        and line["sha256"] != ""
        and all(
            face["output"] in ("", job.crop(number)) for number, face in enumerate(line["faces"])
        )
    )


def _remove(out: Path, line: Line) -> None:
    """Delete a photo's crops, so that no training uses those of photos that have changed."""
    folder = real(out)
    for name, *_ in line["files"]:
        # The ledger might have been edited: nothing outside of its folder is deleted.
        if folder in real(out / name).parents:
            (out / name).unlink(missing_ok=True)


def _summary(
    records: Mapping[str, Record], done_before: int, removed: int, manifest: Path
) -> Summary:
    faces = [face for record in records.values() for face in record["faces"]]
    rejected = (face["reason"].partition(":")[0] for face in faces if face["reason"])
    unreadable = {k: r["reason"] for k, r in records.items() if r["status"] == "unreadable"}
    return Summary(
        photos=len(records),
        done_before=done_before,
        written=sum(face["output"] != "" for face in faces),
        rejected=dict(Counter(rejected).most_common()),
        no_face=sum(not record["faces"] for record in records.values()) - len(unreadable),
        unreadable=tuple(f"{photo}: {why}" for photo, why in sorted(unreadable.items())),
        removed=removed,
        manifest=manifest,
    )
