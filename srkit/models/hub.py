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
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from srkit.errors import InputError, first_of, nearest
from srkit.options import validated

PREFIX = "hf://"
FORM = "hf://OWNER/NAME[/FILE][@REVISION]"
DEFAULT_FILE = "model.safetensors"
WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")
CARD = "README.md"
TIMEOUT = 20.0  # seconds for the Hub to answer
_PART = r"[A-Za-z0-9_.-]+"
_NAME = re.compile(
    rf"(?P<repo>{_PART}/{_PART})(/(?P<file>{_PART}(/{_PART})*))?(@(?P<revision>{_PART}(/{_PART})*))?"
)
_COMMIT = re.compile("[0-9a-f]{40}")


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


class _Terms(TypedDict, total=False):
    """What a model card's metadata state of the licence."""

    license: str | list[str]
    license_name: str


@dataclass(frozen=True)
class Download:
    """A file from the Hub.

    Attributes:
        file: In the Hub's cache.
        name: Its whole name, with file and commit.
        licence: As the model card's metadata state it, or ``unknown``.
    """

    file: Path
    name: str
    licence: str


def parse(name: str) -> Reference:
    """Take a name apart.

    Raises:
        InputError: It isn't of the form `FORM`.
    """
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not name.startswith(PREFIX) or match is None or ".." in re.split(r"[/@]", name):
        raise InputError(f"'{name}' is no model on the Hub; the form is {FORM}")
    return Reference(match["repo"], match["file"], match["revision"])


def download(name: str) -> Download:
    """Return the file that a name means, from the Hub's cache if it is there.

    Args:
        name: See `FORM`.

    Raises:
        InputError: No such repository, revision or file, several weights to choose from, or no way
            to the Hub.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    reference = parse(name)
    repo, commit, file = reference.repo, reference.revision or "", reference.file or DEFAULT_FILE
    cached = _COMMIT.fullmatch(commit) and try_to_load_from_cache(repo, file, revision=commit)
    if isinstance(cached, str):
        card = try_to_load_from_cache(repo, CARD, revision=commit)
        return _download(reference, file, commit, cached, card)
    with _one_line(reference):
        endpoint = os.environ.get("HF_ENDPOINT") or None
        info = HfApi(endpoint=endpoint).model_info(
            repo, revision=reference.revision, timeout=TIMEOUT
        )
        commit, names = str(info.sha), [each.rfilename for each in info.siblings or ()]
        if not _COMMIT.fullmatch(commit):
            raise InputError(f"{reference}: the Hub names no commit ({commit:.60})")
        file = _chosen(reference, names)
        where = {"repo_id": repo, "revision": commit, "endpoint": endpoint}
        with _checked_names(reference):
            card = hf_hub_download(filename=CARD, **where) if CARD in names else None
            path = hf_hub_download(filename=file, **where)
        return _download(reference, file, commit, path, card)


def _download(reference: Reference, file: str, commit: str, path: str, card: object) -> Download:
    name = str(Reference(reference.repo, file, commit))
    return Download(Path(path), name, _licence(Path(card)) if isinstance(card, str) else "unknown")


def _licence(card: Path) -> str:
    """Return the licence in a model card's metadata."""
    from huggingface_hub import metadata_load

    try:
        terms = validated(_Terms, metadata_load(card) or {}, str(card))
    except Exception:  # somebody's YAML
        return "unknown"
    stated = terms.get("license_name") or terms.get("license") or "unknown"
    return stated if isinstance(stated, str) else ", ".join(stated)


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


@contextmanager
def _checked_names(reference: Reference) -> Iterator[None]:
    """Refuse what would lead out of the cache: the library names files in it as the Hub says."""
    from huggingface_hub import file_download

    ask = file_download.get_hf_file_metadata

    def checked(*arguments: Any, **options: Any) -> Any:
        metadata = ask(*arguments, **options)
        for name in (metadata.etag, metadata.commit_hash):
            if name and not re.fullmatch(r"[\w-]+", name):
                raise InputError(f"{reference}: the Hub gives no safe name for a file: {name:.60}")
        return metadata

    file_download.get_hf_file_metadata = checked
    try:
        yield
    finally:
        file_download.get_hf_file_metadata = ask


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
