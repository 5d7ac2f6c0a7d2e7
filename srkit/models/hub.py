"""Models from the Hugging Face Hub, pinned: from its first use on, a name means the same bytes.

The first use of ``hf://owner/name`` asks the Hub which commit that is, and writes commit, file and
sha256 down; later ones take that commit and check the sum, whatever the repository's branches
point to by then. What is pinned and was downloaded once needs no network.

Environment:
    HF_ENDPOINT: Another Hub, a mirror for instance.
    SRKIT_PINS: The file of pins; see `srkit.models.pins`.
"""

from __future__ import annotations

import datetime
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from srkit.errors import InputError, nearest
from srkit.files import sha256
from srkit.models import pins
from srkit.models.pins import Pin

PREFIX = "hf://"
FORM = "hf://OWNER/NAME[/FILE][@REVISION][#sha256=HEX]"
DEFAULT_FILE = "model.safetensors"
WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".onnx")
TIMEOUT = 20.0  # seconds for the Hub to answer
_PART = r"[A-Za-z0-9_.-]+"
_NAME = re.compile(
    rf"(?P<repo>{_PART}/{_PART})(?P<file>(/{_PART})+)?(@(?P<revision>{_PART}(/{_PART})*))?"
    r"(#sha256=(?P<sha256>[0-9a-fA-F]{64}))?"
)


@dataclass(frozen=True)
class Reference:
    """What a name says.

    Attributes:
        repo: ``owner/name``.
        file: In the repository; None for its only weights.
        revision: Branch, tag or commit; None for the default branch.
        sha256: What the file's must be, in lower case; None where the name doesn't say.
    """

    repo: str
    file: str | None = None
    revision: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        """Return the name without the sum: what is pinned."""
        file = f"/{self.file}" if self.file else ""
        return f"{PREFIX}{self.repo}{file}" + (f"@{self.revision}" if self.revision else "")


def parse(name: str) -> Reference:
    """Take a name apart.

    Raises:
        InputError: It isn't of the form `FORM`.
    """
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not name.startswith(PREFIX) or found is None or ".." in re.split(r"[/@#]", name):
        raise InputError(f"'{name}' is no model on the Hub; the form is {FORM}")
    sum_ = found["sha256"]
    file = found["file"].removeprefix("/") if found["file"] else None
    return Reference(found["repo"], file, found["revision"], sum_.lower() if sum_ else None)


def obtain(name: str) -> tuple[Path, Pin]:
    """Return the file that a name means, and its pin; pin the name if this is its first use.

    Args:
        name: See `FORM`.

    Raises:
        InputError: No such repository, revision or file, several weights to choose from, no way to
            the Hub, or bytes that aren't those of the pin.
    """
    reference = parse(name)
    pin = pins.read().get(str(reference)) or pins.add(str(reference), lambda: _resolved(reference))
    if reference.sha256 not in (None, pin.sha256):
        raise InputError(f"{reference} is pinned to sha256 {pin.sha256}, not {reference.sha256}")
    file = _downloaded(reference, pin.file, pin.commit)
    if (found := sha256(file)) != pin.sha256:
        raise InputError(
            f"{reference}: the bytes have changed (sha256 {found}, pinned {pin.sha256}); "
            f"delete {file.resolve()} to download it again"
        )
    return file, pin


def full_name(reference: Reference, pin: Pin) -> str:
    """Return the name that leaves nothing open: file, commit and sum."""
    return f"{PREFIX}{reference.repo}/{pin.file}@{pin.commit}#sha256={pin.sha256}"


def cached(name: str, pin: Pin) -> Path | None:
    """Return a pinned file if it has been downloaded."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(parse(name).repo, pin.file, revision=pin.commit)
    return Path(found) if isinstance(found, str) else None


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _resolved(reference: Reference) -> Pin:
    """Ask the Hub what a name means now, and download it."""
    from huggingface_hub import HfApi

    with _clear(reference):
        about = HfApi(endpoint=_endpoint()).model_info(
            reference.repo, revision=reference.revision, timeout=TIMEOUT
        )
    names = [sibling.rfilename for sibling in about.siblings or ()]
    file = _chosen(reference, names)
    commit = str(about.sha)
    found = sha256(_downloaded(reference, file, commit))
    if reference.sha256 not in (None, found):
        raise InputError(f"{reference}: {file} has sha256 {found}, not {reference.sha256}")
    card = about.card_data.to_dict() if about.card_data else {}
    terms = card.get("license_name") or card.get("license") or "unknown"
    licence = ", ".join(map(str, terms)) if isinstance(terms, list) else str(terms)
    return Pin(commit, file, found, licence, datetime.date.today().isoformat())


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
    shown = ", ".join(weights[:5]) + (", ..." if len(weights) > 5 else "")
    raise InputError(f"{reference}: several weights in it; name one as {FORM}: {shown}")


def _downloaded(reference: Reference, file: str, commit: str) -> Path:
    """Return a file of a commit from the Hub's cache; a commit never changes."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    given = {"repo_id": reference.repo, "filename": file, "revision": commit}
    with _clear(reference):
        try:
            return Path(hf_hub_download(**given, local_files_only=True))
        except LocalEntryNotFoundError:
            # Downloads are tried again for a minute; this says at once whether there is a way.
            HfApi(endpoint=_endpoint()).model_info(reference.repo, revision=commit, timeout=TIMEOUT)
            return Path(hf_hub_download(**given, endpoint=_endpoint()))


@contextmanager
def _clear(reference: Reference) -> Iterator[None]:
    """Say in one line what is wrong, and keep the library from printing."""
    from huggingface_hub import constants, errors

    host = _endpoint() or constants.ENDPOINT
    try:
        with _quiet():
            yield
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
    except errors.RemoteEntryNotFoundError as error:
        raise InputError(f"{reference}: the file is no longer there") from error
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
