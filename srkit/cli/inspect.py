"""``srkit list``, ``srkit info`` and ``srkit plugins``: what there is, and whose it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from srkit import plugins as plugin_system
from srkit import registry
from srkit.errors import SrkitError, UnknownNameError, nearest
from srkit.hookspecs import kinds

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
    rows = [("kind", "name", "provided by")]
    for each in [kind] if kind else kinds():
        for name, offer in registry.offers(each).items():
            owner = " and ".join(f"{p.distribution} {p.version}" for p in offer.plugins)
            clash = "  (clash)" if len(offer.plugins) > 1 else ""
            rows.append((registry.singular(each), name, owner + clash))
            if long:
                rows += [("", f"  {line}", "") for line in _long(each, name)]
    _columns(rows)


def _columns(rows: Sequence[tuple[str, ...]]) -> None:
    # A long line beneath a row leaves the first cell empty, and decides no width.
    widths = [max(len(row[i]) for row in rows if row[0]) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _long(kind: str, name: str) -> list[str]:
    try:
        return [registry.describe(kind, name), *map(str, registry.options(kind, name))]
    except SrkitError as error:
        return [str(error)]


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
        from srkit.schema import schema as recipe_schema

        typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
        return
    matching = [kind for kind in kinds() if name in registry.offers(kind)]
    if not matching and _leads_to_a_model(name):
        typer.echo(f"{name}  model\n{_facts(name)}")
        return
    if not matching:
        known = [n for kind in kinds() for n in registry.offers(kind)]
        raise UnknownNameError(f"nothing is called '{name}'{nearest(name, known)}; see srkit list")
    for kind in matching:
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
        yield Path(where).read_text(encoding="utf-8")
    if kind == "models":
        ready = registry.build(kind, name)
        if ready.file:
            yield f"  file {ready.file}"
        yield _facts(name)
        if ready.card:
            yield ready.card.read_text(encoding="utf-8")


def _leads_to_a_model(name: str) -> bool:
    """Return whether a name that isn't registered is a model's all the same; imports no torch."""
    return name.startswith("hf://") or Path(name).exists() or Path("runs", name).is_dir()


def _facts(name: str) -> str:
    """Build a model and say what it costs and where it comes from."""
    from srkit.models import card
    from srkit.models.load import find

    rows = card.rows(find(name))
    width = max(len(what) for what, _ in rows)
    return "\n".join(f"  {what.ljust(width)}  {value}" for what, value in rows)


def plugins() -> None:
    """List the plugins: distribution, version, entry point, target, seconds to load, state."""
    rows = [("distribution", "version", "entry point", "target", "seconds", "state")]
    for p in plugin_system.load().plugins:
        seconds = f"{p.seconds:.2f}"
        rows.append((p.distribution, p.version, p.entry_point, p.target, seconds, p.state))
    _columns(rows)
