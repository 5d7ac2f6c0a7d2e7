"""Commands of plugins (entry-point group ``srkit.commands``), imported when they are called."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Container

import typer

from srkit import plugins
from srkit.errors import NameClashError, PluginError, SrkitError


def add(app: typer.Typer, taken: Container[str]) -> None:
    """Register a stand-in for every plugin's command; our own verbs can't be replaced."""
    found: dict[str, list[tuple[importlib.metadata.EntryPoint, plugins.Plugin]]] = {}
    for entry_point, plugin in plugins.found(plugins.COMMANDS_GROUP):
        if not plugins.wanted(plugin.distribution):
            continue
        if entry_point.name in taken:
            plugins.report(plugin, f"command '{entry_point.name}' is srkit's own")
            continue
        found.setdefault(entry_point.name, []).append((entry_point, plugin))
    for name, providers in found.items():
        owners = " and ".join(f"{p.distribution} {p.version}" for _, p in providers)
        app.command(
            name,
            help=f"A command of {owners}.",
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_clash(name, owners) if len(providers) > 1 else _stand_in(*providers[0]))


def _clash(name: str, owners: str) -> Callable[[typer.Context], None]:
    def run(ctx: typer.Context) -> None:
        raise NameClashError(
            f"command '{name}' is provided by {owners}; choose one with SRKIT_PLUGINS "
            "or uninstall the other"
        )

    return run


def _stand_in(
    entry_point: importlib.metadata.EntryPoint, plugin: plugins.Plugin
) -> Callable[[typer.Context], None]:
    def run(ctx: typer.Context) -> None:
        try:
            target = entry_point.load()
        except SrkitError:
            raise
        except Exception as error:
            raise PluginError(
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
