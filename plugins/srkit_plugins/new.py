"""A new plugin: a distribution of a few files, whole or not at all."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2

import srkit
from srkit import plugins, registry
from srkit.errors import InputError

LONGEST = 60  # characters of a name: it becomes that of files
TEMPLATES = Path(__file__).with_name("templates")
# Of a template, what follows a line "=== FILE" is that file's content.
MARK = re.compile(r"^=== (.+)\n", re.MULTILINE)


@dataclass(frozen=True)
class Names:
    """A plugin's names, all from the one that was asked for.

    Attributes:
        distribution: ``srkit-my-net``.
        what: ``face set`` or another kind, ``command``.
        module: ``srkit_my_net``.
        part: ``my-net``.
        file: The part's module and function, ``face_set``.
        class_name: ``MyNetFaceSet``: with the kind, it is no other name of its module.
    """

    distribution: str
    what: str

    @property
    def module(self) -> str:
        """The package."""
        return self.distribution.replace("-", "_")

    @property
    def part(self) -> str:
        """The name by which srkit knows the part."""
        return self.distribution.removeprefix("srkit-")

    @property
    def class_name(self) -> str:
        """The part's class."""
        words = re.findall(r"[a-z]+|\d+", f"{self.part} {self.what}")
        return ("" if words[0].isalpha() else "My") + "".join(map(str.capitalize, words))

    @property
    def file(self) -> str:
        """The part's module and function."""
        return self.what.replace(" ", "_")


def names_of(asked: str, kind: str) -> Names:
    """Return a plugin's names; InputError: no module can have such a name, or another has it."""
    plain = unicodedata.normalize("NFKD", asked).encode("ascii", "ignore").decode().lower()
    distribution = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not distribution[:1].isalpha():
        distribution = f"srkit-{distribution}"
    names = Names(distribution, registry.singular(kind))
    if not re.search("[a-z]", names.part):
        raise InputError(f"no name for a plugin: '{asked}'; it needs a letter from a to z")
    if len(distribution) > LONGEST:
        raise InputError(
            f"a plugin's name has at most {LONGEST} characters, not {len(distribution)}"
        )
    if (
        names.module in (*keyword.kwlist, "tests")
        or importlib.util.find_spec(names.module) is not None
    ):
        raise InputError(f"'{names.module}' is another module's name; try 'srkit-{names.part}-2'")
    _require_free(names, kind)
    return names


def _require_free(names: Names, kind: str) -> None:
    """Refuse a part's or command's name that somebody installed has."""
    if kind == "commands":
        taken = names.part in {p.name for p, _ in plugins.declared(plugins.COMMANDS_GROUP)}
    else:
        kinds = (kind, "recipes") if kind == "generators" else (kind,)
        taken = any(names.part in registry.offers(each) for each in kinds)
    if taken:
        raise InputError(f"there is a {names.what} '{names.part}' already; take another name")


def write(folder: Path, kind: str) -> list[Path]:
    """Write a distribution that provides one part of a kind, or ``"commands"``; return the files.

    The folder's last name becomes the distribution's, and the folder comes first of what is
    returned; nothing may be in it.
    InputError: the name can't be a plugin's, or the folder holds something. OSError: of the disk.
    """
    names = names_of(folder.name, kind)
    folder = folder.with_name(names.distribution)
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and _is_empty(folder))):
        raise InputError(f"{folder} exists; nothing is overwritten")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".srkit-", dir=folder.parent) as temporary:
        draft = Path(temporary, "draft")
        for name, text in rendered(names, kind):
            file = draft / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        shutil.move(draft, folder)
    return [folder, *sorted(file for file in folder.rglob("*") if file.is_file())]


def _is_empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def rendered(names: Names, kind: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the content of each file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        # Braces are Python's and GitHub's.
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        trim_blocks=True,
    )
    major, minor = srkit.__version__.split(".")[:2]
    following = f"{major}.{int(minor) + 1}" if major == "0" else f"{int(major) + 1}"
    values = {
        "names": names,
        "kind": kind,
        "requires": f"srkit>={major}.{minor},<{following}",
    }
    for template in ("distribution", names.file):
        text = environment.get_template(f"{template}.jinja").render(values)
        parts = MARK.split(text)[1:]
        yield from zip(parts[::2], parts[1::2], strict=True)
