"""One photo -> its crops and rows; many photos, in one process or several."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path, PurePosixPath

import torch

from srkit.errors import InputError, OptionError, SrkitError
from srkit.faces import align
from srkit.faces.align import Placement
from srkit.files import sha256
from srkit.hookspecs import Face
from srkit.imaging import codec
from srkit.prepare import manifest
from srkit.prepare.manifest import Row

# With fewer photos for each, a process would take longer to start than to do its share.
PHOTOS_A_WORKER = 40


@dataclass(frozen=True)
class Settings:
    """What becomes of a face.

    Attributes:
        width: Of the crops, in pixels; 178 gives CelebA's 178x218.
        least: Smallest face looked for, in pixels of the photo.
        confidence: Faces of a lower probability are rejected.
        most_enlarged: A face is rejected if its crop has more than this many pixels to one of
            the photo, along a line.
        most_outside: A face is rejected if more than this share of its crop lies outside of the
            photo, in [0, 1].
        largest_only: Reject all but the largest face that ``confidence`` admits.

    Raises:
        OptionError: A value makes no sense.
    """

    width: int = align.CELEBA_SIZE[0]
    least: int = 40
    confidence: float = 0.9
    most_enlarged: float = 1.0
    most_outside: float = 0.2
    largest_only: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            *(("width", 16, 4096), ("least", 12, math.inf), ("confidence", 0, 1)),
            *(("most_enlarged", 0, math.inf), ("most_outside", 0, 1)),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise OptionError(f"{name} is {value}, but must be from {low} to {high}")


@dataclass(frozen=True)
class Job:
    """One photo.

    Attributes:
        photo: Its path below the folder of photos, with slashes.
        crops: What its crops' paths below theirs begin with.
    """

    photo: str
    crops: str

    def crop(self, face: int) -> str:
        """Return the path of a face's crop below the folder of crops."""
        return f"{self.crops}_{face}.png"


def plan(photos: Path, out: Path) -> list[Job]:
    """Decide how every photo's crops are called.

    That is the photo's name without its suffix, and with it where another's would be the same.

    Raises:
        InputError: No pictures, or crops would be among the photos.
    """
    here, there = photos.resolve(), out.resolve()
    if here == there or there in here.parents:
        raise InputError(f"the photos lie in {out}, where the faces would go; choose another place")
    listed = codec.listed(photos)
    if there.is_relative_to(here):
        inside = f"{photos / there.relative_to(here)}{os.sep}"
        listed = [file for file in listed if not str(file).startswith(inside)]
    if not listed:
        raise InputError(f"{photos}: no pictures in it but those in {out}")
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


def digest(file: Path) -> str:
    """Return a file's SHA-256, or nothing if it can't be read."""
    try:
        return sha256(file)
    except OSError:
        return ""


class Worker:
    """Does one photo after the other.

    Args:
        photos: Their folder.
        out: That of the crops.
        settings: What becomes of a face.
        device: Where faces are looked for.
    """

    def __init__(self, photos: Path, out: Path, settings: Settings, device: str) -> None:
        self.photos, self.out, self.settings = photos, out, settings
        # Those that MTCNN isn't sure of are looked at too: the manifest says that they were.
        self.detector = align.detector(device, min_size=settings.least, confidence=0)

    def __call__(self, job: Job) -> list[Row]:
        """Write a photo's crops; return its rows.

        Raises:
            InputError: A crop can't be written.
        """
        file = self.photos / job.photo
        its = digest(file)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd, but decoded: nothing the user need know
                picture = codec.read(file)
        except InputError as error:
            reason = " ".join(str(error).removeprefix(f"{file}: ").split())
            return [manifest.photo_row(job.photo, its, manifest.UNREADABLE, reason)]
        found = [rounded(face) for face in self.detector.faces(picture.rgb)]
        if not found:
            return [manifest.photo_row(job.photo, its, manifest.NO_FACE)]
        # Nothing else of the file goes along: EXIF says where a photo was taken.
        info = {k: v for k, v in picture.info.items() if k == "icc_profile"}
        rows = []
        for number, face in enumerate(found):
            placement = align.place(face.landmarks, picture.rgb.size, self.settings.width)
            row = manifest.face_row(job.photo, its, found, number, placement)
            row["reason"] = self.objection(found, number, placement)
            row["status"] = manifest.REJECTED if row["reason"] else manifest.WRITTEN
            if placement and not row["reason"]:
                row["output"] = job.crop(number)
                codec.write(align.align(picture.rgb, placement), self.out / row["output"], info)
            rows.append(row)
        return rows

    def objection(self, found: list[Face], number: int, placement: Placement | None) -> str:
        """Return why a face is rejected, or nothing; what is before a colon is counted."""
        face, settings = found[number], self.settings
        if face.probability < settings.confidence:
            return f"unsure: probability {face.probability:.2f}"
        if placement is None:
            return "no face: its landmarks are in one place"
        sure = [other.probability >= settings.confidence for other in found]
        if settings.largest_only and number != sure.index(True):
            return "not the largest"
        if placement.enlargement > settings.most_enlarged:
            apart = math.dist(*face.landmarks[:2])
            times = placement.enlargement
            return f"too small: eyes {apart:.0f} px apart, would be enlarged {times:.2f} times"
        if placement.outside > settings.most_outside:
            return f"cut off: {placement.outside:.0%} of the crop is outside of the photo"
        return ""


def rounded(face: Face) -> Face:
    """Round a face to the manifest's digits, so that a crop follows from its row."""
    left, top, right, bottom = (round(value, 2) for value in face.box)
    return replace(
        face,
        box=(left, top, right, bottom),
        probability=round(face.probability, 4),
        landmarks=tuple((round(x, 2), round(y, 2)) for x, y in face.landmarks),
    )


def work(
    jobs: list[Job], photos: Path, out: Path, settings: Settings, device: str, workers: int
) -> Generator[list[Row]]:
    """Give the rows of each photo, as soon as it is done.

    Raises:
        InputError: A crop can't be written.
        SrkitError: A process was ended from outside.
    """
    workers = min(workers, len(jobs) // PHOTOS_A_WORKER)
    if workers > 1:
        yield from _shared(jobs, (photos, out, settings, device), workers)
    elif jobs:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a process of several: other numbers, other last bits
        try:
            worker = Worker(photos, out, settings, device)
            yield from map(worker, jobs)
        finally:
            torch.set_num_threads(threads)


def _shared(
    jobs: list[Job], arguments: tuple[Path, Path, Settings, str], workers: int
) -> Generator[list[Row]]:
    # torch's threads don't survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, arguments)
    try:
        with _interrupts_held():
            futures = [pool.submit(_do, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise SrkitError(
            "a process was ended, maybe for want of memory; the same command goes on from there, "
            "with fewer --workers if need be"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let processes begun inside never see Ctrl-C, which a terminal sends to them as well."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: Worker | None = None  # of this process, if it is one of several


def _begin(photos: Path, out: Path, settings: Settings, device: str) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _worker = Worker(photos, out, settings, device)


def _end_with_parent() -> None:
    """End this process when the one that began it was killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _do(job: Job) -> list[Row]:
    assert _worker is not None
    return _worker(job)
