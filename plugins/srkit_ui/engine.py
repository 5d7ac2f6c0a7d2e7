"""The models, and one thread that upscales what clients ask for, one image after another."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import traceback
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any

import pydantic

import srkit
from srkit import registry
from srkit.errors import SrkitError, nearest
from srkit.faces import align
from srkit.imaging import codec
from srkit_ui.store import RefusedError, Store, Stored

KEPT = 4  # models, with their settings, that stay loaded
BEAT = 1.0  # seconds after which a client that waits hears how many are before it
Event = dict[str, Any]


class Options(pydantic.BaseModel, extra="forbid"):
    """What a client chooses, as the options of ``srkit upscale``; ``skip``: faces left as is."""

    model: str = pydantic.Field("", max_length=300)
    scale: float | None = pydantic.Field(None, gt=0, le=64, allow_inf_nan=False)
    faces: bool = False
    format: str = pydantic.Field("", max_length=10)
    skip: list[int] = pydantic.Field([], max_length=1000)


class Engine:
    """Upscales one image at a time, in the order of asking, by ``models`` that may be named."""

    def __init__(self, store: Store, models: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self.store, self.models, self.waiting = store, models, 0
        self._pool = ThreadPoolExecutor(1, "srkit-ui")
        self._ending = threading.Event()
        # The process waits for it: a thread that Python ends within a library ends the whole
        # process by an abort.
        self.warm = cache(threading.Thread(target=self._warm).start)

    def _warm(self) -> None:
        """Load what the first image, and the first face, would have to wait for."""
        with suppress(SrkitError):  # whoever asks for it is told why
            for faces in (False, True):
                if not self._ending.is_set():
                    self._upscaler(Options(faces=faces))

    def end(self) -> None:
        """Load nothing more."""
        self._ending.set()

    def _upscaler(self, options: Options) -> srkit.Upscaler:
        known = {"": (None, 0.0), **self.models()}
        if options.model not in known:
            raise RefusedError(f"no model '{options.model:.80}'{nearest(options.model, known)}")
        return _loaded(*known[options.model], options.scale, options.faces, options.format)

    async def upscale(self, stored: Stored, options: Options) -> AsyncGenerator[Event]:
        """Yield what becomes of an image, or refuse; who stops listening cancels it.

        ``waiting`` is how many are before it, ``progress`` the share that is done, tile by tile;
        the last event has a ``result``, or an ``error``.
        """
        if self.waiting >= self.store.limits.waiting:
            raise RefusedError(f"{self.waiting} images are waiting already; try again later", 503)
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event | None]()
        stop, started = threading.Event(), threading.Event()

        def tell(event: Event | None) -> None:
            with suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(events.put_nowait, event)

        def run() -> None:
            started.set()
            try:
                tell(self._run(stored, options, tell, stop))
            except CancelledError:
                pass
            except (SrkitError, RefusedError) as error:
                tell({"error": str(error)})
            except Exception as error:  # a bug, or a stranger's model: the server goes on
                traceback.print_exc()
                tell({"error": f"srkit failed ({type(error).__name__}); its terminal says why"})
            tell(None)

        def left(_: object) -> None:
            self.waiting -= 1

        before, self.waiting = self.waiting, self.waiting + 1
        future = asyncio.wrap_future(self._pool.submit(run))
        future.add_done_callback(left)
        try:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), BEAT)
                except TimeoutError:
                    event = {} if started.is_set() else {"waiting": min(before, self.waiting - 1)}
                if event is None:
                    return
                yield event
        finally:
            stop.set()
            if not started.is_set():
                future.cancel()

    def _run(self, stored: Stored, options: Options, tell: Any, stop: threading.Event) -> Event:
        upscaler = self._upscaler(options)
        width, height = (max(1, round(side * upscaler.scale)) for side in stored.size)
        if width * height > (most := self.store.limits.result_pixels):
            raise RefusedError(
                f"{stored.name}: the result would have {width}x{height} pixels, and the limit is "
                f"{most // 1_000_000} million; choose a smaller scale"
            )
        done = 0.0

        def progress(images: float) -> None:
            nonlocal done
            if stop.is_set():
                raise CancelledError
            done += images
            tell({"progress": min(1.0, max(0.0, done))})

        progress(0)
        file = (stored.name, stored.file.read_bytes())
        (event,) = upscaler([file], progress=progress, skip_faces=options.skip)
        if event.result is None:
            raise RefusedError(event.error)
        output = event.job.output
        name = f"{output.stem}-x{upscaler.scale:g}{output.suffix}"
        result = self.store.add(name, event.encoded, codec.size_of(name, event.encoded))
        shown = ("box", "size", "restored", "note")
        faces = [{key: getattr(face, key) for key in shown} for face in event.result.detected]
        notes, seconds = event.result.notes, event.seconds
        return {"result": described(result), "faces": faces, "notes": notes, "seconds": seconds}


@lru_cache(KEPT)
def _loaded(
    model: str | None, written: float, scale: float | None, faces: bool, suffix: str
) -> srkit.Upscaler:
    return srkit.Upscaler(model, scale=scale, faces=faces, suffix=suffix or None)


def described(stored: Stored) -> Event:
    """Return what a client learns of its file."""
    about = {"id": stored.id, "name": stored.name, "bytes": stored.bytes}
    return {**about, "width": stored.size[0], "height": stored.size[1]}


def measured(result: Stored, reference: Stored) -> Event:
    """Return PSNR (None: equal) and SSIM of RGB, as the bench, and the faces' distance (0 to 2).

    The face is the largest in the reference; both images are cropped there.
    """
    sr, hr = (codec.read(each.name, each.file.read_bytes()) for each in (result, reference))
    if sr.size != hr.size:
        sizes = *hr.size, *sr.size
        raise RefusedError("the reference has {}x{} pixels, the result {}x{}".format(*sizes))
    a, b = codec.to_tensor(sr.rgb), codec.to_tensor(hr.rgb)
    values = {m: float(registry.build("metrics", m)(a, b)[0]) for m in ("psnr", "ssim")}
    scores = {m: value if math.isfinite(value) else None for m, value in values.items()}
    try:
        name, embedder, finder = _judges()
    except SrkitError as error:
        return {**scores, "note": f"Identity: {error}"}
    if not (faces := finder.faces(hr.rgb)):
        return {**scores, "note": "Identity: no face found in the reference"}
    first, second = (embedder(codec.to_tensor(align.crop(i.rgb, faces[0], 160))) for i in (sr, hr))
    note = f"Identity: distance between the faces' embeddings by {name}; 0 is the same, 2 the most."
    return {**scores, "identity": float((first - second).norm()), "note": note}


@cache
def _judges() -> tuple[str, Any, Any]:
    """Return an embedder whose weights are on this machine, and a detector of faces."""
    for name, there in (("facenet", "SRKIT_FACENET_WEIGHTS" in os.environ), ("dlib", True)):
        if there and name in registry.offers("embedders"):
            return name, registry.build("embedders", name), align.detector()
    raise SrkitError("needs srkit[dlib], or SRKIT_FACENET_WEIGHTS; nothing is downloaded")
