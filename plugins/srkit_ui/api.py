"""The page's own paths, below ``/srkit/``: files in, results out, by ids."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from PIL import Image
from starlette.requests import ClientDisconnect

from srkit import defaults
from srkit.errors import SrkitError
from srkit.imaging import codec
from srkit_ui.catalogue import Catalogue, read
from srkit_ui.engine import Engine, Event, Options, described, measured
from srkit_ui.store import Limits, RefusedError, Store, Stored, plain

STATIC = Path(__file__).parent / "static"
REPORT = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
KEPT = {"Cache-Control": "private, max-age=3600"}  # an image of an address is always the same
Id = Annotated[str, Body()]


class Api:
    """Answers the page; a path's parts are ids and listed names, never paths of files."""

    def __init__(self, limits: Limits, catalogue: Catalogue) -> None:
        self.limits, self.catalogue = limits, catalogue
        self.store = Store(limits)
        self.engine = Engine(self.store, catalogue.models)
        self.start = secrets.token_hex(8)  # a page sees by it that the server is another one
        self._threaded = partial(to_thread.run_sync, limiter=CapacityLimiter(2))

    def add_to(self, app: FastAPI) -> None:
        """Add the paths."""
        for method, path, answer in (
            ("GET", "about", self._about),
            ("GET", "card", self._card),
            ("POST", "images", self._upload),
            ("GET", "images/{key}", self._show),
            ("DELETE", "images/{key}", self._remove),
            ("GET", "images/{key}/file", self._download),
            ("POST", "images/{key}/upscale", self._upscale),
            ("POST", "zip", self._zip),
            ("POST", "measure", self._measure),
            ("GET", "listed/{kind}", self._listed),
            ("GET", "runs/{key}", self._run),
            ("GET", "reports/{key}", self._report),
            ("GET", "grids/{key}/{number}", self._grid),
        ):
            app.add_api_route(f"/srkit/{path}", answer, methods=[method], response_model=None)
        app.mount("/srkit/static", StaticFiles(directory=STATIC))
        for kind in (RefusedError, SrkitError, RequestValidationError, ClientDisconnect):
            app.add_exception_handler(kind, _sentence)

    async def _about(self, brief: bool = False) -> Event:
        """Say which server this is, and what there is to choose from."""
        self.engine.warm()
        return {
            "start": self.start,
            "models": [] if brief else await self._threaded(self.catalogue.described),
            "automatic": [
                defaults.MODEL,
                defaults.GENERAL_MODEL,
            ],  # the second where faces are found
            "formats": sorted(suffix[1:] for suffix in codec.WRITABLE),
            "examples": sorted(file.name for file in STATIC.glob("*.png")),
            "file_bytes": self.limits.file_bytes,
        }

    async def _card(self, model: str) -> Event:
        return {"html": await self._threaded(self.catalogue.card, model)}

    async def _upload(self, request: Request, name: str = "image") -> Event:
        """Take an image, whose bytes are the body; its header must be sound."""
        content, name = await request.body(), plain(name)
        width, height = await self._threaded(codec.size_of, name, content)
        if width * height > (most := self.limits.input_pixels):
            raise RefusedError(f"{name}: {width}x{height} pixels are more than {most}")
        return described(await self._threaded(self.store.add, name, content, (width, height)))

    async def _show(self, key: str, width: int = 0, height: int = 0) -> Response:
        """Give an image as a PNG that browsers show; with a size, resized to it by Lanczos."""
        if min(width, height) < 0 or width * height > self.limits.result_pixels:
            raise RefusedError("there is no such size")
        png = await self._threaded(_png, self.store.get(key), (width, height))
        return Response(png, media_type="image/png", headers=KEPT)

    async def _remove(self, key: str) -> Event:
        self.store.remove(key)
        return {}

    async def _download(self, key: str) -> Response:
        stored = self.store.get(key)
        return FileResponse(stored.file, filename=stored.name)

    async def _upscale(self, key: str, options: Options) -> Response:
        """Upscale an image; the answer is lines of JSON, and who closes it cancels the work."""
        events = self.engine.upscale(self.store.get(key), options)
        first = await anext(events)  # what is refused has a status of its own

        async def lines() -> AsyncIterator[bytes]:
            async with aclosing(events):
                yield json.dumps(first).encode() + b"\n"
                async for event in events:
                    yield json.dumps(event).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _zip(self, ids: Annotated[list[str], Body(embed=True, min_length=1)]) -> Event:
        files = [self.store.get(key) for key in ids]
        return described(await self._threaded(self.store.zip, files))

    async def _measure(self, result: Id, reference: Id) -> Event:
        return await self._threaded(measured, self.store.get(result), self.store.get(reference))

    async def _listed(self, kind: Literal["runs", "reports"]) -> Event:
        folders = await self._threaded(getattr(self.catalogue, kind))
        return {"names": [(key, str(folder)) for key, folder in folders.items()]}

    async def _run(self, key: str) -> Event:
        return {"html": await self._threaded(self.catalogue.run, key)}

    async def _report(self, key: str) -> Response:
        content = await self._threaded(read, self.catalogue.reports(), key, "index.html")
        return HTMLResponse(content, headers={"Content-Security-Policy": REPORT})

    async def _grid(self, key: str, number: int) -> Response:
        content = await self._threaded(read, self.catalogue.runs(), key, f"grid-{number:08d}.png")
        return Response(content, media_type="image/png", headers=KEPT)


def _png(stored: Stored, size: tuple[int, int]) -> bytes:
    """Return an image as a PNG of 8 bits: upright, in its own profile."""
    decoded, stream = codec.read(stored.name, stored.file.read_bytes()), io.BytesIO()
    image = decoded.to_8_bit_image()
    image = image if size == (0, 0) else image.resize(size, Image.Resampling.LANCZOS)
    profile = decoded.info.get("icc_profile")
    image.save(stream, "PNG", compress_level=1, icc_profile=profile)  # it doesn't travel far
    return stream.getvalue()


async def _sentence(request: Request, error: Exception) -> JSONResponse:
    """Answer with a sentence what can't be done."""
    text, status = str(error), error.status if isinstance(error, RefusedError) else 422
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        text = f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"
    elif isinstance(error, ClientDisconnect):  # or the guard has read enough
        text, status = "that is too large", 413
    return JSONResponse({"error": text}, status)
