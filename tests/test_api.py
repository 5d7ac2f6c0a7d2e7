"""What plugins may use is what ``api.txt`` lists; ``python tests/test_api.py`` rewrites it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import srkit
from srkit import hookspecs

LIST = Path(__file__).with_name("api.txt")
MODULES = {
    "srkit": tuple(srkit.__all__),
    "srkit.hookspecs": (),
    "srkit.testing": (),
    "srkit.seeds": (),
    "srkit.errors": ("InputError", "OptionError", "SrkitError", "escaped", "nearest"),
    "srkit.files": (),
    "srkit.imaging.codec": ("bicubic", "read", "save", "to_tensor", "to_uint8"),
    "srkit.faces.align": ("crop", "detector"),
    "srkit.inference.device": ("device_named",),
}


def public() -> Iterator[str]:
    """Yield a line a name: its signature, or what kind of thing it is."""
    yield f"API_VERSION {hookspecs.API_VERSION}"
    for module, names in MODULES.items():
        loaded = importlib.import_module(module)
        own = [n for n, v in vars(loaded).items() if getattr(v, "__module__", "") == module]
        for name in sorted(names or (n for n in own if not n.startswith("_"))):
            if not name.startswith("__"):
                yield from described(f"{module}.{name}", getattr(loaded, name))


def described(name: str, value: Any) -> Iterator[str]:
    """Yield a name with its signature, and those of a class's own methods."""
    if isinstance(value, type) and issubclass(value, Exception):
        yield f"{name} error"
    elif isinstance(value, type) and hasattr(value, "model_fields"):
        yield f"{name}({', '.join(value.model_fields)})"
    elif callable(value):
        yield name + signature(value)
    else:
        yield f"{name} {type(value).__name__}"
    if isinstance(value, type):
        for key, member in vars(value).items():
            if not key.startswith(("_", "model_")) and inspect.isfunction(member):
                yield f"{name}.{key}{signature(member)}"


def signature(value: Any) -> str:
    """Return the names of the arguments, and which have a default."""
    try:
        parameters = inspect.signature(value).parameters.values()
    except ValueError:
        return ""
    words, keyword = [], False
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and not keyword:
            words.append("*")
        keyword = keyword or each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        words.append(f"{stars}{each.name}{'' if each.default is each.empty else '=...'}")
    return f"({', '.join(words)})"


def test_what_plugins_use_is_as_it_was() -> None:
    listed = LIST.read_text(encoding="utf-8").splitlines()
    now = list(public())
    gone = [line for line in listed if line not in now]
    assert not gone, "raise API_VERSION, unless only an optional argument is new; rewrite the list"
    assert now == listed, f"added: {sorted(set(now) - set(listed))}; rewrite the list"


def test_every_hook_is_on_the_list() -> None:
    listed = LIST.read_text(encoding="utf-8")
    assert all(f"srkit.hookspecs.srkit_{kind}()" in listed for kind in hookspecs.kinds())


if __name__ == "__main__":
    LIST.write_text("\n".join(public()) + "\n", encoding="utf-8")
