"""``srkit list``, ``srkit info`` and ``srkit plugins``: what there is, and whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from srkit import plugins as plugin_system
from srkit import registry
from srkit.errors import SrkitError, UnknownNameError, nearest
from srkit.hookspecs import kinds
from srkit.models.hub import PREFIX
from srkit.options import documentation
from srkit.schema import schema as recipe_schema

FILES = ("protocols",)  # kinds whose factories give a file


def list_parts(
    kind: Annotated[
        str | None, typer.Argument(help=f"One of: {', '.join(kinds())}.", show_default=False)
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Also options, defaults and what it is.")
    ] = False,
) -> None:
    """List what is available, and who provides it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("kind", "name", "provided by"):
        table.add_column(heading, no_wrap=not long)
    if long:
        table.add_column("options")
        table.add_column("what it is")
    for each in [kind] if kind else kinds():
        for name, offer in registry.offers(each).items():
            owner = " and ".join(f"{p.distribution} {p.version}" for p in offer.plugins)
            if len(offer.plugins) > 1:
                owner += "  (clash)"
            row = [registry.singular(each), name, owner]
            table.add_row(*map(escape, row + (_long(each, name) if long else [])))
    Console(soft_wrap=not long).print(table)


def _long(kind: str, name: str) -> list[str]:
    try:
        options = [str(option) for option in registry.options(kind, name)]
        return ["\n".join(options) or "-", registry.describe(kind, name)]
    except SrkitError as error:
        return ["", str(error)]


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
    """Show all that is known of a name: owner, options, documentation; of a model, its cost."""
    if schema == (name is not None):
        raise SrkitError("info wants a name (srkit list shows them), or --schema alone")
    if name is None:
        typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    found = [kind for kind in kinds() if name in registry.offers(kind)]
    if not found and _leads_to_a_model(name):
        rows = _known_of(name)
        console.print(f"[bold]{escape(name)}[/]  model")
        _print(console, rows)
        return
    if not found:
        known = [n for kind in kinds() for n in registry.offers(kind)]
        raise UnknownNameError(f"nothing is called '{name}'{nearest(name, known)}; see srkit list")
    for kind in found:
        offer = registry.offer(kind, name)
        owners = " and ".join(str(plugin) for plugin in offer.plugins)
        console.print(f"[bold]{escape(name)}[/]  {registry.singular(kind)}, by {escape(owners)}")
        factory = registry.find(kind, name)
        where = offer.factory if isinstance(offer.factory, str) else repr(factory)
        if kind in FILES:
            where = str(registry.build(kind, name))
        console.print(f"  {escape(where)}")
        for option in registry.options(kind, name):
            console.print(f"  option {escape(str(option))}")
        console.print(f"\n{escape(documentation(factory) or 'Not documented.')}\n")
        if kind == "recipes":
            console.print(escape(registry.build(kind, name).to_toml()))
        if kind in FILES:
            console.print(escape(Path(where).read_text(encoding="utf-8")))
        if kind == "models":
            ready = registry.build(kind, name)
            if ready.file:
                console.print(f"  file {escape(str(ready.file))}")
            _print(console, _known_of(name))
            if ready.card:
                console.print(escape(ready.card.read_text(encoding="utf-8")))


def _leads_to_a_model(name: str) -> bool:
    """Return whether a name that nobody registered is a model's all the same; imports no torch."""
    return name.startswith(PREFIX) or Path(name).exists() or Path("runs", name).is_dir()


def _known_of(name: str) -> list[tuple[str, str]]:
    """Build a model and return what it costs and where it comes from."""
    from srkit.models import card
    from srkit.models.load import find

    return card.rows(find(name))


def _print(console: Console, rows: list[tuple[str, str]]) -> None:
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        console.print(f"  {escape(what.ljust(width))}  {escape(value)}")


def plugins() -> None:
    """List the plugins: distribution, version, entry point, state."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("distribution", "version", "entry point", "target", "state"):
        table.add_column(heading)
    for plugin in plugin_system.load().plugins:
        row = (plugin.distribution, plugin.version, plugin.entry_point, plugin.target, plugin.state)
        table.add_row(*map(escape, row))
    Console(soft_wrap=True).print(table)
