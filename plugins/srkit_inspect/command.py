"""``srkit list``, ``info`` and ``models``: what is available, and who provides it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from srkit import registry
from srkit.errors import SrkitError, UnknownNameError, escaped, nearest
from srkit.hookspecs import kinds

FILES = ("protocols",)  # kinds whose factories give a file
_COMMENTS = re.compile(r"<!--.*?-->\n+", re.DOTALL)  # what renders no text in Markdown
UNBROKEN = 1000  # columns: a row stays a line where programs read it
KINDS = ", ".join(kinds()).replace("_", "-")


def list_parts(
    kind: Annotated[
        str | None,
        typer.Argument(
            help=f"One of: {KINDS}.", show_default=False, autocompletion=lambda: KINDS.split(", ")
        ),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Also options, defaults and what it is.")
    ] = False,
) -> None:
    """List recipes, models, metrics and all other parts.

    Examples:
        srkit list recipes
        srkit list losses --long
    """
    rows = []
    for each in [registry.kind_named(kind)] if kind else kinds():
        for name, offer in registry.offers(each).items():
            row = [registry.singular(each), name, _owner(offer)]
            rows.append([*row, _long(each, name)] if long else row)
    headings = ("kind", "name", "provided by", "description and options")
    if long:
        _show(headings, rows)
    else:
        _show_short([headings[:-1], *rows])


def _owner(offer: registry.Offer) -> str:
    owners = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in offer.plugins)
    return owners + ("  (clash)" if len(offer.plugins) > 1 else "")


def _long(kind: str, name: str) -> str:
    try:
        lines = [registry.describe(kind, name), *map(str, registry.options(kind, name))]
    except SrkitError as error:
        return str(error)
    return "\n".join(lines)


def _show_short(rows: Sequence[Sequence[str]]) -> None:
    """Print lines in columns; rich would take as long to import as all the rest of `list`."""
    widths = [max(map(len, map(escaped, column))) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (escaped(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; one line a row where no terminal limits the width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    between = "\n" if console.is_terminal else "; "
    for row in rows:
        table.add_row(*(Text(between.join(map(escaped, cell.splitlines()))) for cell in row))
    if not console.is_terminal:
        console.width = UNBROKEN
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)


def info(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Any name that `srkit list` shows; or a model: a file, a run, hf://OWNER/NAME.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipes instead.")
    ] = False,
) -> None:
    """Show all that is known of a part or a model.

    Owner, options and documentation; of a model, what it costs and where it comes from.

    Examples:
        srkit info inception-gan
        srkit info runs/faces-tiny
    """
    if schema == (name is not None):
        raise SrkitError("info wants a name (srkit list shows them), or --schema alone")
    if name is None:
        from srkit_inspect.schema import schema as recipe_schema

        typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
        return
    matching = [kind for kind in kinds() if name in registry.offers(kind)]
    if not matching and _leads_to_a_model(name):
        typer.echo(f"{escaped(name)}  model\n{_facts(name)}")
        return
    if not matching:
        known = [n for kind in kinds() for n in registry.offers(kind)]
        raise UnknownNameError(f"unknown name '{name}'{nearest(name, known)}; see srkit list")
    for kind in sorted(matching, key=lambda kind: kind != "models"):  # then its recipe
        typer.echo("\n".join(_described(kind, name)))


def _described(kind: str, name: str) -> Iterator[str]:
    from srkit.options import documentation

    offer, factory = registry.offer(kind, name), registry.find(kind, name)
    yield f"{name}  {registry.singular(kind)}, by {' and '.join(map(str, offer.plugins))}"
    where = offer.factory if isinstance(offer.factory, str) else repr(factory)
    if kind in FILES:
        where = str(registry.build(kind, name))
    yield f"  {where}"
    for option in registry.options(kind, name):
        yield f"  option {option}"
    yield f"\n{documentation(factory) or 'Not documented.'}\n"
    if kind == "recipes":
        yield registry.build(kind, name).to_toml()
    if kind in FILES:
        yield _text(Path(where))
    if kind == "models":
        ready = registry.build(kind, name)
        yield _facts(name, [("file", str(ready.file))] if ready.file else [])
        if ready.card:
            yield "\n" + _COMMENTS.sub("", _text(ready.card))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SrkitError(f"can't read {file}: {getattr(error, 'strerror', error)}") from error


def _leads_to_a_model(name: str) -> bool:
    """Return whether a name that isn't registered is a model's all the same; imports no torch."""
    return "://" in name or Path(name).exists() or Path("runs", name).is_dir()


def _facts(name: str, more: Sequence[tuple[str, str]] = ()) -> str:
    """Build a model and say what it costs and where it comes from."""
    from srkit.models.load import find
    from srkit_inspect import card

    rows = [*more, *card.rows(find(name))]
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"  {escaped(what).ljust(width)}  {escaped(value)}" for what, value in rows)


def models() -> None:
    """List the models that have a name.

    Examples:
        srkit models
        srkit info faces
    """
    rows = []
    for name, offer in registry.offers("models").items():
        try:
            ready = registry.build("models", name)
        except SrkitError as error:  # a clash, or a plugin that fails: the others are listed
            rows.append((name, "", "", "", str(error), _owner(offer)))
            continue
        row = (name, str(ready.scale), _size(ready.file), ready.licence, ready.description)
        rows.append((*row, _owner(offer)))
    _show(("name", "scale", "size", "licence", "description", "provided by"), rows)


def _size(file: Path | None) -> str:
    if file is None:
        return "no weights"
    return f"{file.stat().st_size / 1e6:.1f} MB" if file.is_file() else "missing"
