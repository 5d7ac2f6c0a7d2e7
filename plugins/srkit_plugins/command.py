"""``srkit plugins``: list them, check what they promise, begin one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from srkit import plugins, registry
from srkit.errors import (
    PluginError,
    UnknownNameError,
    escaped,
    nearest,
    one_line,
    refused,
)
from srkit.hookspecs import kinds

COMMANDS = "commands"
HEADINGS = ("distribution", "version", "entry point", "target", "seconds", "state", "provides")

app = typer.Typer()


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """List the plugins, check one, begin one.

    Without a command: what each provides, the seconds its import took, and its state.
    """
    if context.invoked_subcommand is None:
        _show_table()


def _show_table() -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    left_out = {"target"} if console.is_terminal else set()  # no room for it there
    shown = [heading for heading in HEADINGS if heading not in left_out]
    table = Table(*shown, box=None, pad_edge=False, header_style="bold")
    for plugin, parts in _provided():
        text = "; ".join(f"{kind.replace('_', ' ')} {', '.join(n)}" for kind, n in parts.items())
        about = (plugin.distribution, plugin.version, plugin.entry_point, plugin.target)
        row = dict(
            zip(HEADINGS, (*about, f"{plugin.seconds:.2f}", plugin.state, text), strict=True)
        )
        table.add_row(*(Text(escaped(row[heading])) for heading in shown))
    if not console.is_terminal:
        console.width = 2000  # a line a plugin where programs read it
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)


def _provided() -> Iterator[tuple[plugins.Plugin, dict[str, list[str]]]]:
    """Yield every plugin with the names that it provides, by kind; and every command's."""
    loaded = plugins.load()
    for plugin in loaded.plugins:
        offers = [(kind, names) for kind, owner, names in loaded.offers if owner == plugin]
        yield plugin, {kind: sorted(names) for kind, names in offers if names}
    for entry_point, plugin in plugins.declared(plugins.COMMANDS_GROUP):
        try:
            plugin = plugins.examined(entry_point, plugin)
        except ValueError as error:
            plugin = replace(plugin, state=f"broken: {error}")
        yield plugin, {COMMANDS: [entry_point.name]}


@app.command()
def check(
    name: Annotated[
        str | None,
        typer.Argument(help="A distribution, or an entry point; all of them without it."),
    ] = None,
) -> None:
    """Build every part and check what its kind promises.

    Networks that are large by default are checked with other options, which are shown.

    Exits with 0 where all that could be built keeps its promises, 1 where something doesn't, 2
    where nothing could be checked.

    Examples:
        srkit plugins check
        srkit plugins check srkit-mine
    """
    rows = [row for row in _provided() if name is None or name in _names(row[0])]
    if not rows:
        known = sorted({known for plugin, _ in _provided() for known in _names(plugin)})
        raise UnknownNameError(f"no plugin '{name}'{nearest(str(name), known)}; see srkit plugins")
    from srkit_plugins.contracts import LackingError, small
    from srkit_plugins.contracts import check as check_part

    counts = {"ok": 0, "failed": 0, "skipped": 0}
    checked = 0

    def say(outcome: str, what: str, why: str = "") -> None:
        counts[outcome] += 1
        typer.echo(escaped(f"{outcome:7}  {what}{': ' if why else ''}{why}"))

    for plugin, parts in rows:
        if plugin.state != "ok":
            broken = plugin.state.startswith("broken")
            say("failed" if broken else "skipped", f"plugin {plugin}", plugin.state)
        for kind, names in parts.items():
            for part in names:
                start = time.perf_counter()
                what = f"{registry.singular(kind)} {part}"
                try:
                    with plugins.contained():
                        check_part(kind, _qualified(kind, part, plugin))
                except PluginError as error:
                    cause = error.__cause__
                    lacking = isinstance(cause, LackingError)
                    plain = lacking or isinstance(cause, AssertionError)
                    why = one_line(cause) if plain else str(error)
                    say("skipped" if lacking else "failed", what, why)
                    checked += not lacking
                else:
                    options = ", ".join(f"{k}={v}" for k, v in small(kind, part).items())
                    seconds = f"{time.perf_counter() - start:.1f} s"
                    say("ok", f"{what}  ({seconds}{', with ' if options else ''}{options})")
                    checked += 1
    typer.echo(f"{counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped")
    raise typer.Exit(2 if not checked else 1 if counts["failed"] else 0)


def _names(plugin: plugins.Plugin) -> tuple[str, str]:
    return plugin.distribution, plugin.entry_point


def _qualified(kind: str, name: str, plugin: plugins.Plugin) -> str:
    """Return the name by which this plugin's part is found, whoever else has one of that name."""
    if kind == COMMANDS:
        return name
    others = registry.offers(kind)[name].plugins
    return name if others == (plugin,) else f"{plugin.distribution}:{name}"


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the distribution and its folder.")],
    kind: Annotated[
        str,
        typer.Option(
            help=f"What it provides: command, {', '.join(map(registry.singular, kinds()))}."
        ),
    ] = "generator",
) -> None:
    """Begin a plugin: a folder with a part, a test and its packaging.

    Examples:
        srkit plugins new srkit-mine
        srkit plugins new srkit-mine --kind loss
    """
    from srkit_plugins.new import write

    kind = COMMANDS if kind.removesuffix("s") == "command" else registry.kind_named(kind)
    with refused(f"can't write {name}"):
        folder, *files = write(Path(name), kind)
    for file in files:
        typer.echo(escaped(file))
    typer.echo(f"\nNext:\n  python -m pip install -e '{escaped(folder)}[test]'")
    typer.echo(f"  srkit plugins check {escaped(folder.name)}")
