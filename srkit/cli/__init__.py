"""The command line: one file a command; torch is imported only when one runs."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

import srkit
from srkit import plugins
from srkit.cli import commands, help  # noqa: A004
from srkit.errors import (
    InputError,
    Interrupted,
    SrkitError,
    arrived,
    in_shell,
    one_line,
    ran_out,
    terminated_as_interrupted,
)
from srkit.lines import show_error

FULL = (errno.ENOSPC, errno.EDQUOT)  # disks


def _version(show: bool) -> None:
    if show:
        print(f"srkit {srkit.__version__}")  # noqa: T201
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass


def build_app(called: str = "") -> typer.Typer:
    """Return the command line; ``called`` is the only command whose help is of interest."""
    width = min(shutil.get_terminal_size().columns, 110)
    app = typer.Typer(
        cls=help.Group,
        help="Upscale small or bad photos of faces; train and measure the networks that do so.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "terminal_width": width},
    )
    app.callback()(_root)
    commands.add(app, called)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, without the program's name; that of this process if None.

    The exit status is 0, 1 where some items failed and the rest came out, 2 where nothing could
    start, 130 after an interrupt.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd files: users can't mend them
    words = list(sys.argv[1:] if arguments is None else arguments)
    if hasattr(sys.stdout, "reconfigure"):  # a name that its encoding lacks is shown escaped
        sys.stdout.reconfigure(errors="backslashreplace")
    arrived.clear()
    try:
        with terminated_as_interrupted(), in_shell():
            status = _run(words)
            if sys.stdout:
                sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        show_error("interrupted")
        return Interrupted.status
    except BrokenPipeError:  # `srkit list | head`
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in FULL:
            raise
        _drop_output()
        show_error(f"can't write the output: {error.strerror}")
        return 1


def _take_plugins(words: list[str]) -> None:
    """Take ``--plugin FILE.py`` out of a command line, wherever it stands, and have it loaded."""
    end = words.index("--") if "--" in words else len(words)
    for place in reversed(range(end)):
        option, equals, file = words[place].partition("=")
        if option == "--plugin":
            file = file if equals else "".join(words[place + 1 : place + 2])
            del words[place : place + 2 - len(equals)]
            plugins.add_file(file)


def _run(words: list[str]) -> int:
    try:
        _take_plugins(words)
        if any(word == "" or re.fullmatch("--[a-z-]+=", word) for word in words):
            raise InputError(
                "an argument is empty, perhaps a variable of the shell's that is unset"
            )
        completed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
        typed = completed.split()[1:] if "_SRKIT_COMPLETE" in os.environ else words
        called = next((word for word in typed if not word.startswith("-")), "")
        build_app(called)(args=words, prog_name="srkit")
    except SystemExit as end:
        if end.code == Interrupted.status:  # typer's silent end of a KeyboardInterrupt
            show_error("interrupted")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if arrived and not isinstance(error, Interrupted):
            raise KeyboardInterrupt from error
        if isinstance(error, SrkitError):
            text = one_line(error)  # a library's message may have several lines
        elif ran_out(error):
            text = f"not enough memory: {one_line(error) if str(error) else 'for this'}"
        elif plugin := plugins.author(error):
            text = f"plugin {plugin} fails: {plugins.describe(error)}"
        elif isinstance(error, OSError) and error.errno not in FULL and error.filename:
            text = f"{error.filename}: {error.strerror}"
        else:
            raise
        show_error(text)
        return error.status if isinstance(error, SrkitError) else SrkitError.status
    return 0


def _drop_output() -> None:
    """Point stdout elsewhere, so that closing it at exit stays quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
