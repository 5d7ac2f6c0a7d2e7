"""The command line: one file a verb; torch is imported only when a verb runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated

import typer

import srkit
from srkit.errors import SrkitError

INTERRUPTED = 130  # the exit status


def _version(asked: bool) -> None:
    if asked:
        print(f"srkit {srkit.__version__}")  # noqa: T201
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    pass


@cache
def build_app() -> typer.Typer:
    """Return the command line with our verbs and, behind stand-ins, those of plugins."""
    from srkit.cli import (
        bench,
        commands,
        compare,
        degrade,
        demo,
        export,
        inspect,
        models,
        train,
        upscale,
    )

    app = typer.Typer(
        help="Face super-resolution with parts from plugins and numbers that can be repeated.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    verbs: dict[str, Callable[..., None]] = {
        "train": train.train,
        "upscale": upscale.upscale,
        "bench": bench.bench,
        "compare": compare.compare,
        "degrade": degrade.degrade,
        "demo": demo.demo,
        "export": export.export,
        "models": models.models,
        "list": inspect.list_parts,
        "info": inspect.info,
        "plugins": inspect.plugins,
    }
    for name, verb in verbs.items():
        app.command(name)(verb)
    commands.add(app, taken=verbs)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: Without the program's name; those of this process if None.

    Returns:
        The exit status: 0, 1 where some items failed and the rest came out, 2 where nothing
        could start, 130 after an interrupt.
    """
    try:
        build_app()(args=arguments, prog_name="srkit")
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer makes this of a KeyboardInterrupt, and says nothing
            print("srkit: interrupted", file=sys.stderr)  # noqa: T201
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except SrkitError as error:
        # One line, whatever a library put into its message.
        print(f"srkit: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return error.status
    except KeyboardInterrupt:
        print("srkit: interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:
        # `srkit list | head`: point stdout elsewhere, so that closing it at exit stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
