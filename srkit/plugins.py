"""Find and load plugins, one by one, so that a broken one harms no other.

Environment:
    SRKIT_PLUGINS: Comma-separated distributions whose plugins load; the built-in ones always
        do. Unset: all. Empty: built-ins only.
    SRKIT_PLUGINS_DIR: Folders, and single files, that hold plugins of one file each, separated
        as in PATH.
    SRKIT_STRICT: ``1`` raises where a broken plugin would be reported and skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError
from pathlib import Path
from typing import Any

import pluggy

from srkit import hookspecs
from srkit.errors import PluginError, escaped, nearest
from srkit.lines import show_error

GROUP = "srkit"
COMMANDS_GROUP = "srkit.commands"
BUILT_IN = "srkit"
_HOOKS = [f"srkit_{kind}" for kind in hookspecs.kinds()]
LONGEST = 500  # characters of a plugin's own words
SLOW = 2.0  # seconds that a plugin may take without a word: every command waits for it


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group ``srkit``, or a file of ``SRKIT_PLUGINS_DIR``."""

    distribution: str  # that declares it, or the file's name
    version: str  # of that distribution; the start of the file's SHA-256
    entry_point: str  # its name in the group
    target: str  # the module or object it names
    state: str = "ok"  # or "off", by SRKIT_PLUGINS; "needs NAME[extra]"; "broken: ..."
    seconds: float = 0.0  # that loading it took

    @property
    def built_in(self) -> bool:
        """Whether it ships with srkit itself."""
        return self.distribution == BUILT_IN

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.entry_point})"


@dataclass(frozen=True)
class Loaded:
    """The plugins of this process, and what they offer."""

    plugins: tuple[Plugin, ...]
    offers: tuple[tuple[str, Plugin, dict[str, Any]], ...]  # kind, whose, name to factory


@cache
def load() -> Loaded:
    """Load every plugin once for this process, in the order of distribution and name."""
    manager = pluggy.PluginManager("srkit")
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    offers: list[tuple[str, Plugin, dict[str, Any]]] = []
    for entry_point, plugin in declared(GROUP):
        start, had_torch = time.perf_counter(), "torch" in sys.modules
        plugin, names_by_kind = _load_one(manager, entry_point, plugin)
        plugin = replace(plugin, seconds=time.perf_counter() - start)
        # A plugin may import torch, as those of the documentation do: most commands need it.
        own = had_torch or "torch" not in sys.modules
        if plugin.seconds > SLOW and own and not plugin.built_in:
            show_error(
                f"warning: plugin {plugin} takes {plugin.seconds:.1f} s to load; its author can "
                "name parts as 'module:Name', which are imported when they are used"
            )
        plugins.append(plugin)
        offers += [(kind, plugin, names) for kind, names in names_by_kind.items()]
    return Loaded(tuple(plugins), tuple(offers))


@cache
def entry_points(path: tuple[str, ...]) -> Any:  # another class in Python 3.11
    """Return all entry points on a path, ``sys.path``: read once, since that takes 20 ms."""
    return importlib.metadata.entry_points()


def declared(group: str) -> list[tuple[EntryPoint, Plugin]]:
    """Return the entry points of a group with who declares them; the built-in ones first."""
    rows: dict[Plugin, EntryPoint] = {}
    known: dict[int, tuple[str, str]] = {}  # reading a distribution's metadata is slow
    for entry_point in entry_points(tuple(sys.path)).select(group=group):
        dist = entry_point.dist
        if id(dist) not in known:
            # Both are None where the metadata are damaged.
            known[id(dist)] = (str(dist.name), str(dist.version)) if dist else ("unknown", "0")
        rows.setdefault(Plugin(*known[id(dist)], entry_point.name, entry_point.value), entry_point)
    for file in _files() if group == GROUP else ():
        try:
            version = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        except OSError:  # which importing it reports
            version = "0"
        plugin = Plugin(file.name, version, file.stem, str(file))
        rows[plugin] = EntryPoint(file.stem, file.stem, group)
    ordered = sorted(rows, key=lambda p: (not p.built_in, p.distribution, p.entry_point))
    return [(rows[plugin], plugin) for plugin in ordered]


def _files() -> list[Path]:
    """Return the files that ``SRKIT_PLUGINS_DIR`` names, itself or as a folder's."""
    files: list[Path] = []
    for name in filter(None, os.environ.get("SRKIT_PLUGINS_DIR", "").split(os.pathsep)):
        place = Path(name).resolve()
        files += sorted(place.glob("[!_.]*.py")) if place.is_dir() else [place]
    return files


def add_file(name: str) -> None:
    """Have a plugin of one file loaded, in this process and in those that it starts."""
    file = Path(name).resolve()
    if name and not file.is_file():
        raise PluginError(f"{name}: no such file")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise PluginError(f"a plugin is a file NAME.py, NAME of letters, digits, _; not {name}")
    before = os.environ.get("SRKIT_PLUGINS_DIR")
    os.environ["SRKIT_PLUGINS_DIR"] = os.pathsep.join(filter(None, (before, str(file))))
    if os.environ.get("SRKIT_PLUGINS") is not None:
        os.environ["SRKIT_PLUGINS"] += f",{file.name}"
    load.cache_clear()


def _import(entry_point: EntryPoint, plugin: Plugin) -> Any:
    """Import a plugin; one file by its stem, by which other processes can import it, too."""
    if not plugin.target.endswith(".py"):
        return entry_point.load()
    file = Path(plugin.target)
    file.read_bytes()  # or its own error
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # last: it must replace no other module
    spec = importlib.util.find_spec(file.stem)
    if spec is None or Path(spec.origin or "").resolve() != file:
        raise ValueError(f"another module has this name; rename {file.name}")
    return importlib.import_module(file.stem)


def wanted(distribution: str) -> bool:
    """Return whether ``SRKIT_PLUGINS`` lets a distribution's plugins load."""
    names = os.environ.get("SRKIT_PLUGINS")
    if names is None or distribution == BUILT_IN:
        return True
    return _canonical(distribution) in map(_canonical, names.split(","))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _load_one(
    manager: pluggy.PluginManager, entry_point: EntryPoint, plugin: Plugin
) -> tuple[Plugin, dict[str, dict[str, Any]]]:
    names: dict[str, dict[str, Any]] = {}
    try:
        with contained():
            plugin = examined(entry_point, plugin)
            if plugin.state != "ok":
                return plugin, {}
            module = _import(entry_point, plugin)
            if manager.is_registered(module):
                raise ValueError(f"another entry point names {plugin.target}, too")
            manager.register(module, name=f"{plugin.distribution}:{plugin.entry_point}")
            callers = manager.get_hookcallers(module) or []
            problems = [
                f"{name} isn't marked @srkit.hookimpl"
                for name in _HOOKS
                if inspect.isroutine(function := getattr(module, name, None))
                and not hasattr(function, "srkit_impl")
            ]
            if not callers and not problems:
                raise ValueError("no function in it is marked @srkit.hookimpl")
    except PluginError as error:
        return report(plugin, str(error)), {}
    for caller in callers:
        try:
            with contained():
                names[caller.name.removeprefix("srkit_")] = _call(caller, module)
        except PluginError as error:  # its other hooks still count
            problems.append(str(error))
    return (report(plugin, "; ".join(problems)) if problems else plugin), names


def examined(entry_point: EntryPoint, plugin: Plugin) -> Plugin:
    """Return a plugin with what is known of its state before it is imported.

    ValueError: its distribution requires another version of srkit, or no file is called so.
    """
    if not wanted(plugin.distribution):
        return replace(plugin, state="off")
    if plugin.target.endswith(".py") and not Path(plugin.target).stem.isidentifier():
        raise ValueError("a plugin is a file NAME.py, NAME of letters, digits, _")
    if not plugin.built_in:
        _require_version(entry_point)
    if extra := _missing_extra(entry_point, plugin.distribution):
        return replace(plugin, state=f"needs {plugin.distribution}[{extra}]")
    return plugin


def _require_version(entry_point: EntryPoint) -> None:
    """Raise ValueError where a distribution requires another version of srkit."""
    for text in (entry_point.dist.requires if entry_point.dist else None) or ():
        if re.match(r"srkit\b(?![-.])", text, re.IGNORECASE):
            from packaging.requirements import Requirement  # slow to import, too

            requirement, version = Requirement(text), importlib.metadata.version(BUILT_IN)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if applies and not requirement.specifier.contains(version, prereleases=True):
                raise ValueError(f"requires srkit{requirement.specifier}, and this is {version}")


def _missing_extra(entry_point: EntryPoint, distribution: str) -> str | None:
    """Name the extra an entry point declares, where one of its requirements isn't installed."""
    requirements = importlib.metadata.requires(distribution) or [] if entry_point.extras else []
    for extra in entry_point.extras:
        for requirement in requirements:
            name, _, marker = requirement.partition(";")
            if plain := re.fullmatch(r"""\s*extra\s*==\s*["']([\w.-]+)["']\s*""", marker):
                applies = _canonical(plain[1]) == _canonical(extra)
            elif applies := "extra" in marker:
                from packaging.markers import Marker  # slow to import, and seldom needed

                applies = Marker(marker).evaluate({"extra": extra})
            try:
                if applies:
                    importlib.metadata.version(re.split(r"[^\w.-]", name.strip())[0])
            except PackageNotFoundError:
                return extra
    return None


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Turn whatever a plugin's code raises, SystemExit too, into a PluginError.

    A Ctrl-C of the user goes through. Standard output is for results: what the plugin prints goes
    to standard error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except BaseException as error:
        if interrupts(error):
            raise
        raise PluginError(describe(error)) from error


def author(error: BaseException) -> Plugin | None:
    """Return another's plugin in whose code an exception arose, None under ``SRKIT_STRICT=1``."""
    if os.environ.get("SRKIT_STRICT", "") not in ("", "0"):
        return None  # its author wants the traceback
    strangers = {}
    for _, plugin in (*declared(GROUP), *declared(COMMANDS_GROUP)):
        module = Path(plugin.target).stem if plugin.target.endswith(".py") else plugin.target
        strangers[re.split("[.: ]", module)[0]] = plugin
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):  # libraries that both call say nothing
        top = frame.f_globals.get("__name__", "").partition(".")[0]
        if top == BUILT_IN or top in strangers:
            stranger = strangers.get(top)
            return stranger if stranger and not stranger.built_in else None
    return None


def interrupts(error: BaseException) -> bool:
    """Return whether an exception is a Ctrl-C, which comes anywhere but from ``raise``."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if not isinstance(error, KeyboardInterrupt) or last is None:
        return False
    import dis  # slow to import

    return last.tb_frame.f_code.co_code[last.tb_lasti] != dis.opmap["RAISE_VARARGS"]


def _call(caller: Any, module: object) -> dict[str, Any]:
    """Call one hook of one plugin; raise ValueError where the answer is no answer."""
    if not caller.has_spec():
        raise ValueError(f"unknown hook '{caller.name}'{nearest(caller.name, _HOOKS)}")
    (implementation,) = [i for i in caller.get_hookimpls() if i.plugin is module]
    answer = implementation.function()
    if not isinstance(answer, Mapping) or not all(map(acceptable, answer, answer.values())):
        raise ValueError(
            f"{caller.name} must return a dict of names to factories or 'module:Name' strings, "
            f"not {answer!r:.80}"
        )
    return dict(answer)


def acceptable(name: object, factory: object) -> bool:
    """Return whether these are a part's name, printable text, and its factory."""
    printable = isinstance(name, str) and name.isprintable() and name == name.strip() != ""
    return printable and (callable(factory) or isinstance(factory, str))


def report(plugin: Plugin, problem: str) -> Plugin:
    """Say once on standard error that a plugin is broken, and return it so marked.

    PluginError: instead, under ``SRKIT_STRICT=1``.
    """
    line = f"plugin {plugin} skipped: {problem}"
    if os.environ.get("SRKIT_STRICT", "") not in ("", "0"):
        raise PluginError(line)
    show_error(f"warning: {line}")
    return replace(plugin, state=f"broken: {problem}")


def describe(error: BaseException) -> str:
    """Return an exception's class and message in one line, of a line's length."""
    try:
        text = escaped(" ".join(str(error).split()))
    except Exception:  # of its own __str__
        text = ""
    return f"{type(error).__name__}: {text}"[:LONGEST] if text else type(error).__name__
