"""What ``--help`` prints: a line an option, in the order one needs them, at any width from 80."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer.core

import srkit
from srkit import defaults
from srkit.errors import OptionError

PLUGIN = ("--plugin FILE.py", "Load a plugin from a file, too; in any command.")


def names(kind: str) -> Callable[[], list[str]]:
    """Return what completes a word that names a part."""
    return lambda: srkit.parts(kind)


_VALUES = {int: "N", float: "X", Path: "PATH"}
Sections = dict[str, list[tuple[str, str]]]  # title to rows of a name and what it is
_WIDEST = 26  # of the left column; what is longer has its text on the next line


class Command(typer.core.TyperCommand):
    """A command; its examples are the docstring's section ``Examples``."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the name in usage, here and in messages on wrong options."""
        parameters = self.get_params(ctx)
        arguments = [_argument(p) for p in parameters if p.param_type_name == "argument"]
        return [*arguments, "[OPTIONS]"]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, what it does, arguments, options by group, examples."""
        text, _, examples = (self.help or "").partition("\n\nExamples:\n")
        hints = get_type_hints(self.callback)
        sections: Sections = {"Arguments": []}
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((_argument(parameter), _text(parameter)))
            elif not getattr(parameter, "hidden", False):
                group = getattr(parameter, "rich_help_panel", None) or "Options"
                row = (_option(parameter, hints.get(parameter.name)), _text(parameter))
                sections.setdefault(group, []).append(row)
        _write(self, ctx, formatter, text, sections)
        if examples:
            with formatter.section("Examples"):
                formatter.write(textwrap.indent(textwrap.dedent(examples), "  ") + "\n")


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Make wrong usage an error of ours, with one line in place of three."""
    try:
        yield
    except Exception as error:
        # click's own copy of the exceptions is typer's, or a distribution's: known by what they do
        if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = error.format_message().strip()
        message = re.sub(r"\. Did you mean (.*)\?$", r" (did you mean \1?)", message).rstrip(".")
        usage = ""
        if ctx := getattr(error, "ctx", None):
            pieces = [ctx.command_path, *ctx.command.collect_usage_pieces(ctx)]
            usage = f"; usage: {' '.join(pieces)}"
        raise OptionError(f"{message[:1].lower()}{message[1:]}{usage}") from error


class Group(typer.core.TyperGroup):
    """The root, with its commands by group, in the order in which one needs them."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Parse its own options."""
        with _in_one_line():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """Find the command, parse its options and run it."""
        with _in_one_line():
            return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what stands behind the name in usage."""
        return ["[COMMAND]" if self.invoke_without_command else "COMMAND", "[OPTIONS]"]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, what srkit is, and a line a command."""
        sections: Sections = {}
        first = [name for name in defaults.COMMANDS if name in self.commands]
        for name in dict.fromkeys([*first, *self.commands]):
            group = getattr(self.commands[name], "rich_help_panel", None) or "Commands"
            text = (self.commands[name].help or "").partition("\n")[0]
            sections.setdefault(group, []).append((name, text))
        if ctx.parent is None:
            options = [o for o in self.get_params(ctx) if o.name != "show_completion"]
            sections["Options"] = [
                PLUGIN,
                *((_option(each, None), _text(each)) for each in options),
            ]
        _write(self, ctx, formatter, self.help or "", sections)
        formatter.write(f"\n'{ctx.command_path} COMMAND --help' shows a command's options.\n")


def _write(command: Any, ctx: Any, formatter: Any, text: str, sections: Sections) -> None:
    formatter.write_usage(ctx.command_path, " ".join(command.collect_usage_pieces(ctx)))
    formatter.write_paragraph()
    formatter.write_text(text)
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows, col_max=_WIDEST)


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any, hint: Any) -> str:
    names = "/".join([", ".join(sorted(parameter.opts, key=len)), *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    return f"{names} {parameter.metavar or _value(hint) or 'NAME'}"


def _value(hint: Any) -> str:
    """Return the placeholder of a type, or of the first that it is made of and that has one."""
    return _VALUES.get(hint) or next(filter(None, map(_value, get_args(hint))), "")


def _text(parameter: Any) -> str:
    shown, default = parameter.show_default, parameter.default
    if not isinstance(shown, str):
        plain = isinstance(default, int | float | str | Path) and not isinstance(default, bool)
        shown = str(default) if shown and plain else ""
    text = parameter.help or ""
    return f"{text} [{shown}]" if shown else text
