"""Commands of plugins (entry-point group ``srkit.commands``), imported when they are called."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Container

import typer

from srkit import plugins
from srkit.errors import SrkitError


def add(app: typer.Typer, taken: Container[str]) -> None:
    """Register a stand-in for every plugin's command; our own verbs can't be replaced."""
    seen: set[str] = set()
    for entry_point, plugin in plugins.found(plugins.COMMANDS_GROUP):
        name = entry_point.name
        if not plugins.wanted(plugin.distribution) or name in seen:
            continue
        if name in taken:
            plugins.report(plugin, f"command '{name}' is srkit's own")
            continue
        seen.add(name)
        app.command(
            name,
            help=f"A command of {plugin.distribution} {plugin.version}.",
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_stand_in(entry_point, plugin))


def _stand_in(
    entry_point: importlib.metadata.EntryPoint, plugin: plugins.Plugin
) -> Callable[[typer.Context], None]:
    def run(ctx: typer.Context) -> None:
        try:
            target = entry_point.load()
        except Exception as error:
            raise SrkitError(
                f"command '{entry_point.name}' of {plugin.distribution} can't be loaded: {error}"
            ) from error
        prog_name = f"srkit {entry_point.name}"
        if isinstance(target, typer.Typer):
            target(args=ctx.args, prog_name=prog_name)
        elif hasattr(target, "main"):  # a click command
            target.main(args=ctx.args, prog_name=prog_name)
        else:
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command()(target)
            alone(args=ctx.args, prog_name=prog_name)

    return run
