"""Commands, our own too (entry points ``srkit.commands``), imported when they are called."""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import typer
import typer.core
from typer.models import DefaultPlaceholder

from srkit import defaults, plugins
from srkit.cli import help  # noqa: A004
from srkit.errors import NameClashError, PluginError


class _Raw(typer.core.TyperCommand):
    """A click command's stand-in: its words are the command's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave all words as they are, ``--help`` and ``--`` too."""
        ctx.args = args
        return args


def add(app: typer.Typer, called: str = "") -> None:
    """Register the command that is called, or else the names and summaries of all.

    Its name and help are all that is known of a command that isn't called. srkit's own commands
    can't be replaced.
    """
    providers: dict[str, list[tuple[EntryPoint, plugins.Plugin]]] = {}
    declared = plugins.declared(plugins.COMMANDS_GROUP)
    own = [row for row in declared if row[1].built_in and row[0].name == called]
    for entry_point, plugin in own or declared:
        if not plugins.wanted(plugin.distribution):
            continue
        others = providers.setdefault(entry_point.name, [])
        if not plugin.built_in and any(p.built_in for _, p in others):
            plugins.report(plugin, f"command '{entry_point.name}' is srkit's own")
        else:
            others.append((entry_point, plugin))
    if called in providers:
        _add_called(app, called, providers[called])
        return
    for name, rows in providers.items():
        entry_point, plugin = rows[0]
        known = defaults.COMMANDS.get(name, "More")
        app.command(
            name,
            help=_summary(entry_point) or f"A command of {_owners(rows)}.",
            rich_help_panel=known if plugin.built_in else "Commands of other plugins",
        )(lambda: None)


def _owners(rows: list[tuple[EntryPoint, plugins.Plugin]]) -> str:
    return " and ".join(f"{plugin.distribution} {plugin.version}" for _, plugin in rows)


def _add_called(app: typer.Typer, name: str, rows: list[tuple[EntryPoint, plugins.Plugin]]) -> None:
    if len(rows) > 1:
        raise NameClashError(
            f"command '{name}' is provided by {_owners(rows)}; choose one with SRKIT_PLUGINS "
            "or uninstall the other"
        )
    ((entry_point, plugin),) = rows
    try:
        with plugins.contained():
            state = plugins.examined(entry_point, plugin).state
            if state != "ok":
                raise ValueError(state)
            target: Any = entry_point.load()
            if not callable(target):
                raise TypeError(f"{type(target).__name__} is no function, Typer or command")
    except PluginError as error:
        raise PluginError(
            f"command '{name}' of {plugin} can't be loaded: {error}"
        ) from error.__cause__
    if isinstance(target, typer.Typer):
        if isinstance(target.info.cls, DefaultPlaceholder):
            target.info.cls = help.Group
        for command in target.registered_commands:
            if command.cls in (None, typer.core.TyperCommand):
                command.cls = help.Command
        if target.registered_callback or len(target.registered_commands) != 1:
            app.add_typer(target, name=name)
            return
        target.rich_markup_mode = None
        target = typer.main.get_command(target)  # of one command: no group of one
    if not hasattr(target, "main"):
        app.command(name, cls=help.Command)(target)
        return

    def run(ctx: typer.Context) -> None:
        target.main(args=ctx.args, prog_name=f"srkit {name}")

    app.command(name, cls=_Raw)(run)


def _summary(entry_point: EntryPoint) -> str:
    """Return the first line of a command's help, read without importing its module."""
    try:
        with plugins.contained():  # a package around the module is imported
            spec = importlib.util.find_spec(entry_point.module)
            tree = ast.parse(Path(spec.origin if spec and spec.origin else "").read_bytes())
            return next(filter(None, (_help(node, entry_point.attr) for node in tree.body)))
    except PluginError:  # a broken one is reported when it is called
        return ""


def _help(node: ast.stmt, name: str) -> str:
    """Return a name's help in a statement: ``def``, its ``callback``, ``typer.Typer(help=...)``."""
    if isinstance(node, ast.FunctionDef):
        decorators = [ast.unparse(each).partition("(")[0] for each in node.decorator_list]
        if node.name == name or f"{name}.callback" in decorators:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
        keywords = {k.arg: k.value for k in getattr(node.value, "keywords", ())}
        if "help" in keywords:
            return str(ast.literal_eval(keywords["help"])).partition("\n")[0]
    return ""
