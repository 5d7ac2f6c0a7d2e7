"""Commands of plugins (entry points ``srkit.commands``), imported when they are called."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Container
from importlib.metadata import EntryPoint
from pathlib import Path

import typer
import typer.core
from typer.models import DefaultPlaceholder

from srkit import defaults, plugins
from srkit.cli import help  # noqa: A004
from srkit.errors import NameClashError, PluginError


def add(
    app: typer.Typer, taken: Container[str], called: str = "", *, completing: bool = False
) -> None:
    """Register a stand-in for every plugin's command; our own verbs can't be replaced.

    Args:
        app: Gets the commands.
        taken: Names of the verbs.
        called: The only command whose help is of interest, ``""`` for all.
        completing: Import it, since a shell completes its options.
    """
    providers_by_name: dict[str, list[tuple[EntryPoint, plugins.Plugin]]] = {}
    for entry_point, plugin in plugins.declared(plugins.COMMANDS_GROUP):
        if not plugins.wanted(plugin.distribution):
            continue
        others = providers_by_name.get(entry_point.name, ())
        if entry_point.name in taken or (
            not plugin.built_in and any(p.built_in for _, p in others)
        ):
            plugins.report(plugin, f"command '{entry_point.name}' is srkit's own")
            continue
        providers_by_name.setdefault(entry_point.name, []).append((entry_point, plugin))
    for name in [called] if called in providers_by_name else providers_by_name:
        providers = providers_by_name[name]
        entry_point, plugin = providers[0]
        if completing and name == called:
            with plugins.contained():
                target = entry_point.load()
            if isinstance(target, typer.Typer):
                app.add_typer(target, name=name)
            else:
                app.command(name)(target)
            continue
        owners = " and ".join(f"{p.distribution} {p.version}" for _, p in providers)
        app.command(
            name,
            help=_summary(entry_point) or f"A command of {owners}.",
            rich_help_panel=defaults.COMMANDS.get(name, "More")
            if plugin.built_in
            else "Commands of other plugins",
            add_help_option=False,
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_clash(name, owners) if len(providers) > 1 else _stand_in(entry_point, plugin))


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


def _clash(name: str, owners: str) -> Callable[[typer.Context], None]:
    def run(ctx: typer.Context) -> None:
        raise NameClashError(
            f"command '{name}' is provided by {owners}; choose one with SRKIT_PLUGINS "
            "or uninstall the other"
        )

    return run


def _stand_in(entry_point: EntryPoint, plugin: plugins.Plugin) -> Callable[[typer.Context], None]:
    def run(ctx: typer.Context) -> None:
        prog_name = f"srkit {entry_point.name}"
        try:
            with plugins.contained():
                state = plugins.examined(entry_point, plugin).state
                if state != "ok":
                    raise ValueError(state)
                target = entry_point.load()
                if not callable(target):
                    raise TypeError(f"{type(target).__name__} is no function, Typer or command")
        except PluginError as error:
            raise PluginError(
                f"command '{entry_point.name}' of {plugin} can't be loaded: {error}"
            ) from error.__cause__
        if isinstance(target, typer.Typer):
            target.rich_markup_mode = None
            if isinstance(target.info.cls, DefaultPlaceholder):
                target.info.cls = help.Group
            for command in target.registered_commands:
                if command.cls in (None, typer.core.TyperCommand):
                    command.cls = help.Command
            target(args=ctx.args, prog_name=prog_name)
        elif hasattr(target, "main"):  # a click command
            target.main(args=ctx.args, prog_name=prog_name)
        else:
            alone = typer.Typer(
                add_completion=False,
                pretty_exceptions_enable=False,
                rich_markup_mode=None,
                context_settings={"help_option_names": ["-h", "--help"]},
            )
            alone.command(cls=help.Command)(target)
            alone(args=ctx.args, prog_name=prog_name)

    return run
