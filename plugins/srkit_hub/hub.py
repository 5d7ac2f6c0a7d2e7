"""Models from the Hugging Face Hub: ``hf://OWNER/NAME[/FILE][@REVISION]``.

Without a revision the newest commit is taken, and a model's metadata say which. A name with file
and commit means the same bytes for ever, and needs no network once they are here.

Environment:
    HF_ENDPOINT: Another Hub, a mirror for instance.
    HF_HUB_OFFLINE: Never ask it.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from srkit import InputError, ReadyModel
from srkit.errors import first_of, nearest
from srkit.files import sha256

PREFIX = "hf://"
FORM = "hf://OWNER/NAME[/FILE][@REVISION]"
DEFAULT_FILE = "model.safetensors"
WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")
CARD = "README.md"
TIMEOUT = 20.0  # seconds for the Hub to answer
PATIENCE, LEAST_SPEED = 20.0, 10_000  # seconds of less than so many bytes a second
MOST_TEXT, MOST_WEIGHTS = 16 << 20, 16 << 30  # bytes of an answer
MOST_METADATA = 1 << 16  # characters of a model card
MOST_COMPRESSED = 1 << 16  # of one that is compressed in spite of what was asked
_PART = r"[A-Za-z0-9_.-]+"
_NAME = re.compile(
    rf"(?P<repo>{_PART}/{_PART})(/(?P<file>{_PART}(/{_PART})*))?(@(?P<revision>{_PART}(/{_PART})*))?"
)
_COMMIT, _SHA256 = re.compile("[0-9a-f]{40}"), re.compile("[0-9a-f]{64}")
T = TypeVar("T")


@dataclass(frozen=True)
class Reference:
    """A parsed name.

    Attributes:
        repo: ``owner/name``.
        file: Path in the repository; None for its only weights.
        revision: Branch, tag or commit; None for the default branch.
    """

    repo: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        return f"{PREFIX}{self.repo}{file}" + (f"@{self.revision}" if self.revision else "")


def parse(name: str) -> Reference:
    """Take a name apart.

    Raises:
        InputError: It isn't of the form `FORM`.
    """
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not name.startswith(PREFIX) or match is None or ".." in re.split(r"[/@]", name):
        raise InputError(f"'{name}' is no model on the Hub; the form is {FORM}")
    return Reference(match["repo"], match["file"], match["revision"])


def download(name: str) -> ReadyModel:
    """Return the file that a name means, from the Hub's cache if it is there.

    Args:
        name: ``hf://OWNER/NAME[/FILE][@REVISION]``.

    Raises:
        InputError: No such repository, revision or file, several weights to choose from, or no way
            to the Hub.
    """
    from huggingface_hub import try_to_load_from_cache

    reference = parse(name)
    repo, commit, file = reference.repo, reference.revision or "", reference.file or DEFAULT_FILE
    cached = _COMMIT.fullmatch(commit) and try_to_load_from_cache(repo, file, revision=commit)
    if isinstance(cached, str):
        card = try_to_load_from_cache(repo, CARD, revision=commit)
        return _ready(reference, file, commit, cached, card)
    with _one_line(reference):
        watch = _Watch(reference)
        return watch.run(lambda: _fetched(reference, watch))


def _fetched(reference: Reference, watch: _Watch) -> ReadyModel:
    """Ask the Hub for a file and the model card."""
    from huggingface_hub import HfApi, hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT") or None
    info = HfApi(endpoint=endpoint).model_info(
        reference.repo, revision=reference.revision, timeout=TIMEOUT
    )
    commit, names = str(info.sha), [each.rfilename for each in info.siblings or ()]
    if not _COMMIT.fullmatch(commit):
        raise InputError(f"{reference}: the Hub names no commit ({commit:.60})")
    file = _chosen(reference, names)
    where = {"repo_id": reference.repo, "revision": commit, "endpoint": endpoint}
    card = hf_hub_download(filename=CARD, **where) if CARD in names else None
    watch.most = MOST_WEIGHTS
    path = hf_hub_download(filename=file, **where)
    blob = Path(path).resolve()
    if _SHA256.fullmatch(blob.name) and sha256(blob) != blob.name:
        blob.unlink()
        raise InputError(f"{reference}: {file} isn't what its checksum says; try again")
    return _ready(reference, file, commit, path, card)


def _ready(reference: Reference, file: str, commit: str, path: str, card: object) -> ReadyModel:
    name = str(Reference(reference.repo, file, commit))
    licence = _licence(Path(card)) if isinstance(card, str) else "unknown"
    return ReadyModel(name, licence, Path(path))


def _licence(card: Path) -> str:
    """Return the licence in a model card's metadata."""
    import yaml

    try:
        with card.open(encoding="utf-8") as file:
            _, metadata, _ = re.split("^---$", file.read(MOST_METADATA), maxsplit=2, flags=re.M)
        terms = yaml.safe_load(metadata)
        stated = terms.get("license_name") or terms["license"]
        if isinstance(stated, list):
            stated = ", ".join(stated)
    except Exception:  # somebody's YAML
        return "unknown"
    return stated if isinstance(stated, str) else "unknown"


def _chosen(reference: Reference, names: list[str]) -> str:
    """Return the file a name means, of those in the repository."""
    if reference.file:
        if reference.file not in names:
            raise InputError(f"{reference}: no such file in it{nearest(reference.file, names)}")
        return reference.file
    weights = [name for name in names if name.endswith(WEIGHTS)]
    if DEFAULT_FILE in names:
        return DEFAULT_FILE
    if len(weights) == 1:
        return weights[0]
    if not weights:
        raise InputError(f"{reference}: no weights in it ({', '.join(WEIGHTS)})")
    raise InputError(f"{reference}: several weights in it; name one as {FORM}: {first_of(weights)}")


class _Watch:
    """What the Hub sends, in a thread: of safe names, in bounded sizes, and not too slowly."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.most = MOST_TEXT  # bytes of the next answer
        self.received = 0
        self.over = False

    def run(self, work: Callable[[], T]) -> T:
        """Return a function's result; it asks the Hub as often as it likes.

        Raises:
            InputError: The Hub sends less than `LEAST_SPEED`, measured over `PATIENCE`.
        """
        result: Future[T] = Future()

        def call() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        with self._clients():
            threading.Thread(target=call, daemon=True).start()
            left, before, received = PATIENCE, time.monotonic(), 0
            while not wait([result], 0.1).done:
                now, total = time.monotonic(), self.received
                left = min(PATIENCE, left + before - now + (total - received) / LEAST_SPEED)
                before, received = now, total
                if left < 0:
                    speed = f"less than {LEAST_SPEED // 1000} KB/s for {PATIENCE:.0f} s"
                    raise InputError(f"{self.reference}: the Hub sends {speed}; try again later")
        return result.result()

    @contextmanager
    def _clients(self) -> Iterator[None]:
        """Look into all answers meanwhile; the library makes a new client after some failures."""
        from huggingface_hub import set_client_factory
        from huggingface_hub.utils import _http

        factory = _http._GLOBAL_CLIENT_FACTORY

        def watched() -> Any:
            client = factory()
            client.event_hooks["request"].append(self._ask)
            client.event_hooks["response"].append(self._check)
            return client

        set_client_factory(watched)
        try:
            yield
        finally:
            self.over = True  # ends a download that goes on
            set_client_factory(factory)

    def _ask(self, request: Any) -> None:
        self._count(0)  # no further try, where the Hub was given up
        request.headers["Accept-Encoding"] = "identity"

    def _check(self, response: Any) -> None:
        if response.request.method == "HEAD":  # the library names files in its cache by these
            for key in ("ETag", "X-Linked-ETag", "X-Repo-Commit"):
                name = response.headers.get(key, "").removeprefix("W/").strip('"')
                if not re.fullmatch(r"[\w-]{0,128}", name):
                    raise InputError(
                        f"{self.reference}: the Hub gives no safe name for a file: {name:.60}"
                    )
        # By the first other servers would be asked; for as long as the others say it would sleep.
        for key in ("X-Xet-Hash", "Retry-After", "RateLimit"):
            response.headers.pop(key, None)
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        most = min(self.most, MOST_COMPRESSED) if encoded else self.most
        stream = response.stream
        count = self._count

        class Counted(type(stream)):  # type: ignore[misc]  # of httpx, or what it is called next
            def __init__(self) -> None:
                pass

            def __iter__(self) -> Iterator[bytes]:
                left = most
                for chunk in stream:
                    left -= len(chunk)
                    count(len(chunk), left)
                    yield chunk

            def close(self) -> None:
                stream.close()

        response.stream = Counted()

    def _count(self, size: int, left: int = 0) -> None:
        self.received += size
        if left < 0 or self.over:
            raise InputError(f"{self.reference}: the Hub sends more than a file of its kind has")


@contextmanager
def _one_line(reference: Reference) -> Iterator[None]:
    """Raise each error as one line, and keep the library from printing."""
    from huggingface_hub import constants, errors

    host = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    try:
        with _quiet():
            yield
    except InputError:
        raise
    except errors.GatedRepoError as error:
        raise InputError(
            f"{reference}: accept its terms at {host}/{reference.repo}, then `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{reference}: no such repository at {host}; if it is private, `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{reference}: no such revision in it") from error
    # What else comes through depends on the library's version and on that of its HTTP client.
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{reference} isn't in the cache, and {host} fails: {why}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    from huggingface_hub import constants, utils
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    bars = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not utils.are_progress_bars_disabled()
    logging.set_verbosity_error()
    if bars:
        utils.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            utils.enable_progress_bars()
