"""srkit in a browser, on one's own machine."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit.errors import InputError, OptionError, one_line
from srkit_ui.store import Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

AUTH = "SRKIT_UI_AUTH"
ADDRESSES = "*"  # among hosts: a page that binds its name to our address has a name


def build(
    *,
    hosts: Collection[str] = (),
    auth: str | None = None,
    runs: Path = Path("runs"),
    reports: Path = Path(),
    limits: Limits | None = None,
) -> FastAPI:
    """Return the page as an application, to run or to mount in one's own.

    Args:
        hosts: Names that browsers call the server by, beside loopback's; ``*`` stands for all
            addresses in numbers.
        auth: ``user:password`` that every request needs; None: none.
        runs: Folder of training runs.
        reports: Folder of reports, which lie at most two folders down.
        limits: What clients may ask for.
    """
    from fastapi import FastAPI

    from srkit_ui.api import Api
    from srkit_ui.catalogue import Catalogue
    from srkit_ui.guard import Guard
    from srkit_ui.page import add_to

    limits, catalogue = limits or Limits(), Catalogue(runs, reports)
    api = Api(limits, catalogue)
    app = FastAPI(openapi_url=None, on_startup=[api.engine.warm], on_shutdown=[api.engine.end])
    api.add_to(app)

    async def add_page() -> None:  # where no event loop runs, gradio makes some and leaves them
        add_to(app)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, add_page()).result()
    app.add_middleware(Guard, hosts, auth, limits.file_bytes)
    return app


def ui(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: a free one.")] = 7860,
    auth: Annotated[
        Path | None, typer.Option(help=f"File with user:password; else {AUTH} is read.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that browsers use; repeatable.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of training runs.")] = Path("runs"),
    reports: Annotated[Path, typer.Option(help="Folder of reports.")] = Path(),
    max_size: Annotated[int, typer.Option(min=1, help="Largest file, in MB.")] = 64,
    max_pixels: Annotated[int, typer.Option(min=1, help="Largest result, in megapixels.")] = 100,
) -> None:
    """Upscale, compare and watch trainings in a browser.

    Only this machine reaches it, unless --host says otherwise, which needs a password. Nothing is
    sent or loaded from elsewhere.

    Examples:
        srkit ui
        srkit ui --host 0.0.0.0 --auth password.txt
    """
    password, alone = _password(auth), _loopback(host)
    if not alone and password is None:
        raise OptionError(f"--host {host} lets others in: give user:password by --auth, or {AUTH}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.create_server((host, port), family=family)
    except OSError as error:
        what = f"can't listen at {host}, port {port}: {one_line(error)}"
        raise InputError(f"{what}; choose another --port") from error
    hosts = [*(allow_host or ()), *([] if alone else [host, socket.gethostname(), ADDRESSES])]
    limits = Limits(file_bytes=max_size << 20, result_pixels=max_pixels * 1_000_000)
    try:
        import uvicorn

        app = build(hosts=hosts, auth=password, runs=runs, reports=reports, limits=limits)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing: pip install 'srkit[ui]'") from error
    place = f"[{host}]" if ":" in host else host
    warning = "" if alone else "; not encrypted: put a proxy with TLS before it"
    address = f"srkit ui: http://{place}:{bound.getsockname()[1]}{warning}"
    # Said once the server handles signals: a Ctrl-C before would leave it half begun.
    app.router.on_startup.append(lambda: print(address, flush=True))  # noqa: T201
    config = uvicorn.Config(app, log_level="error", limit_concurrency=512, ws="none")
    config.timeout_graceful_shutdown = 3
    with suppress(KeyboardInterrupt):  # which is how it ends
        uvicorn.Server(config).run(sockets=[bound])


def _loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _password(file: Path | None) -> str | None:
    try:
        text = file.read_text(encoding="utf-8").strip() if file else os.environ.get(AUTH)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--auth {file}: can't be read ({error})") from error
    if text is not None and not (len(text.splitlines()) == 1 and all(text.partition(":"))):
        raise OptionError("--auth holds one line, user:password")
    return text
