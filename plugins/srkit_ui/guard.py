"""What comes before every request: Host, Origin, password, size, and which paths there are."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srkit_ui import ADDRESSES
from srkit_ui.store import RefusedError

OWN, UPLOAD = "/srkit/", "/srkit/images"
# What gradio's page is made of; its other paths (events, uploads, files, proxies) are closed.
GRADIO = re.compile(
    r"/|/(assets|static)/[\w./-]+|/theme\.css|/favicon\.ico|/config|/manifest\.json"
)
ADDRESS = re.compile(r"[\d.]+|[\da-f:]+:[\da-f:.]*")
MOST_BYTES = 1 << 18  # of a request that brings no file
HEADERS = {  # gradio's scripts are partly in the page, and compile templates
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; img-src 'self' blob: data:; font-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "frame-ancestors 'self'",
    "Cache-Control": "private, no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
DELAY = 0.5  # seconds that a wrong password takes


class Guard:
    """ASGI middleware that lets through what the page itself asks for; see `srkit_ui.build`."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], auth: str | None, most: int) -> None:
        self.app, self.file_bytes = app, most
        self.hosts = {"localhost", "127.0.0.1", "::1", *map(str.lower, hosts)}
        self.password = b"Basic " + base64.b64encode(auth.encode()) if auth else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it in a sentence."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        left = self.file_bytes if path == UPLOAD else MOST_BYTES
        try:
            await self._check(scope["method"], path, Headers(scope=scope), left)
        except RefusedError as refused:
            answer = JSONResponse({"error": str(refused)}, refused.status, {"Connection": "close"})
            if refused.status == 401:
                answer.headers["WWW-Authenticate"] = 'Basic realm="srkit"'
            await answer(scope, receive, send)
            return

        async def bounded() -> Message:  # the length of a body need not be stated
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            return message if left >= 0 else {"type": "http.disconnect"}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                for name, value in HEADERS.items():
                    MutableHeaders(scope=message).setdefault(name, value)
            await send(message)

        await self.app(scope, bounded, with_headers)

    async def _check(self, method: str, path: str, headers: Headers, most: int) -> None:
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        name = re.sub(r":\d+$", "", host).strip("[]")
        if name not in self.hosts and not (ADDRESSES in self.hosts and ADDRESS.fullmatch(name)):
            what = f"this server isn't called '{host:.80}'; srkit ui has --allow-host"
            raise RefusedError(what, 421)
        site, mode = (headers.get(f"sec-fetch-{name}", "none") for name in ("site", "mode"))
        followed = path == "/" and method == "GET" and mode == "navigate"
        if (origin is not None and urlsplit(origin).netloc.lower() != host) or (
            site not in ("none", "same-origin") and not followed
        ):
            raise RefusedError("another site's page may not use this server", 403)
        if ".." in path or not (path.startswith(OWN) or GRADIO.fullmatch(path)):
            raise RefusedError("there is nothing of that name", 404)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise RefusedError(f"that is larger than {most >> 10} kB", 413)
        sent = headers.get("authorization", "").encode()
        if self.password and not hmac.compare_digest(sent, self.password):
            await asyncio.sleep(DELAY if sent else 0)
            raise RefusedError("a user's name and a password are needed", 401)
