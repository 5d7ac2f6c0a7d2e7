"""One photo -> its crops and its record; many photos, in one process or several."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path

import torch

from srkit.errors import InputError, OptionError, SrkitError
from srkit.faces import align
from srkit.faces.align import Placement
from srkit.files import sha256
from srkit.hookspecs import Face
from srkit.imaging import codec
from srkit_prepare.record import FaceRecord, Record

# With fewer photos for each, a process would take longer to start than to do its share.
PHOTOS_A_WORKER = 40


@dataclass(frozen=True)
class Settings:
    """What becomes of a face.

    Attributes:
        width: Width of the crops, in pixels; 178 gives CelebA's 178x218.
        min_face_size: Smallest face to find, in pixels of the photo.
        confidence: Faces of a lower probability are rejected.
        max_upscale: A face is rejected if its crop has more than this many pixels to one of the
            photo, along a line.
        max_outside: A face is rejected if more than this share of its crop lies outside of the
            photo, in [0, 1].
        largest_only: Whether all but the largest face that ``confidence`` admits are rejected.

    Raises:
        OptionError: A value makes no sense.
    """

    width: int = align.CELEBA_SIZE[0]
    min_face_size: int = 40
    confidence: float = 0.9
    max_upscale: float = 1.0
    max_outside: float = 0.2
    largest_only: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            *(("width", 16, 4096), ("min_face_size", 12, math.inf), ("confidence", 0, 1)),
            *(("max_upscale", 0, math.inf), ("max_outside", 0, 1)),
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


def checksum(file: Path) -> str:
    """Return a file's SHA-256, or nothing if it can't be read."""
    try:
        return sha256(file)
    except OSError:
        return ""


class Worker:
    """Does one photo after the other.

    Args:
        photos: Their folder.
        out: Folder of the crops.
        settings: What becomes of a face.
        device: Where faces are looked for.
    """

    def __init__(self, photos: Path, out: Path, settings: Settings, device: str) -> None:
        self.photos, self.out, self.settings = photos, out, settings
        # Those that the detector isn't sure of are looked at too: the record says that they were.
        self.detector = align.detector(device, min_size=settings.min_face_size, confidence=0)

    def __call__(self, job: Job) -> Record:
        """Write a photo's crops; return what became of it.

        Raises:
            InputError: A crop can't be written.
        """
        file = self.photos / job.photo
        record = Record(sha256=checksum(file), status="read", reason="", faces=[])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd, but decoded: nothing the user need know
                image = codec.read(file)
        except InputError as error:
            reason = " ".join(str(error).removeprefix(f"{file}: ").split())
            return record | {"status": "unreadable", "reason": reason}
        faces = [rounded(face) for face in self.detector.faces(image.rgb)]
        # Nothing else of the file goes along: EXIF says where a photo was taken.
        info = {k: v for k, v in image.info.items() if k == "icc_profile"}
        for number, face in enumerate(faces):
            placement = align.place(face.landmarks, image.rgb.size, self.settings.width)
            reason = self.objection(faces, number, placement)
            output = "" if reason else job.crop(number)
            if placement and output:
                codec.write(align.align(image.rgb, placement), self.out / output, info)
            record["faces"].append(
                FaceRecord(
                    output=output,
                    reason=reason,
                    box=list(face.box),
                    probability=face.probability,
                    landmarks=list(face.landmarks),
                    scale=round(placement.scale, 4) if placement else None,
                    outside=round(placement.outside, 4) if placement else None,
                )
            )
        return record

    def objection(self, faces: list[Face], number: int, placement: Placement | None) -> str:
        """Return why a face is rejected, or nothing; what is before a colon is counted."""
        face, settings = faces[number], self.settings
        if face.probability < settings.confidence:
            return f"unsure: probability {face.probability:.2f}"
        if placement is None:
            return "no face: its landmarks are in one place"
        sure = [other.probability >= settings.confidence for other in faces]
        if settings.largest_only and number != sure.index(True):
            return "not the largest"
        if placement.scale > settings.max_upscale:
            apart = math.dist(*face.landmarks[:2])
            times = placement.scale
            return f"too small: eyes {apart:.0f} px apart, would be upscaled {times:.2f} times"
        if placement.outside > settings.max_outside:
            return f"cut off: {placement.outside:.0%} of the crop is outside of the photo"
        return ""


def rounded(face: Face) -> Face:
    """Round a face to the record's digits, so that a crop follows from it."""
    left, top, right, bottom = (round(value, 2) for value in face.box)
    return replace(
        face,
        box=(left, top, right, bottom),
        probability=round(face.probability, 4),
        landmarks=tuple((round(x, 2), round(y, 2)) for x, y in face.landmarks),
    )


def work(
    jobs: list[Job], photos: Path, out: Path, settings: Settings, device: str, workers: int
) -> Generator[tuple[Job, Record]]:
    """Yield what became of each photo, as soon as it is done.

    Raises:
        InputError: A crop can't be written.
        SrkitError: A process was ended from outside.
    """
    workers = min(workers, len(jobs) // PHOTOS_A_WORKER)
    if workers > 1:
        yield from _in_processes(jobs, (photos, out, settings, device), workers)
    elif jobs:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a process of several: other numbers, other last bits
        try:
            worker = Worker(photos, out, settings, device)
            for job in jobs:
                yield job, worker(job)
        finally:
            torch.set_num_threads(threads)


def _in_processes(
    jobs: list[Job], arguments: tuple[Path, Path, Settings, str], workers: int
) -> Generator[tuple[Job, Record]]:
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


_worker: Worker | None = None  # this process's, if it is one of several


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


def _do(job: Job) -> tuple[Job, Record]:
    assert _worker is not None
    return job, _worker(job)
