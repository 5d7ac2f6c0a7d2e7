"""``srkit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from srkit.errors import InputError
from srkit.files import require_place

REPORTS = "Files of bench --json, folders of --report."


def compare(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT", help=REPORTS)],
    pair: Annotated[
        list[str] | None,
        typer.Option(metavar="MINE=YOURS", help="Models of A and B to compare; repeatable."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="JSON file of the comparison.")] = None,
) -> None:
    """Compare two reports of `srkit bench`, or the seeds of recipes.

    Examples:
        srkit compare a.json b.json --pair mine=yours
        srkit compare seed0.json seed1.json seed2.json
    """
    if pair and len(reports) != 2:
        raise InputError("--pair is for two reports; else the seeds of a recipe go together")
    from srkit.evaluation.report import REPORT, Report
    from srkit_compare.comparison import Comparison, compare
    from srkit_compare.seeds import SeedComparison, compare_seeds

    if json:
        require_place(json, [file / REPORT if file.is_dir() else file for file in reports])
    read, names = [Report.read(file) for file in reports], [str(file) for file in reports]
    comparison: Comparison | SeedComparison
    if len(read) == 2:
        pairs = parse_pairs(pair) if pair else None
        comparison = compare(read[0], read[1], (names[0], names[1]), pairs)
    else:
        comparison = compare_seeds(read, names)
    Console().print(comparison.tables())
    if json:
        comparison.write(json)


def parse_pairs(texts: list[str]) -> dict[str, str]:
    """Return B's model by A's of ``MINE=YOURS``.

    Raises:
        InputError: One isn't of that form, or a model is named twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        mine, _, yours = text.partition("=")
        if not mine or not yours:
            raise InputError(f"--pair is MINE=YOURS, not '{text}'")
        if mine in pairs or yours in pairs.values():
            raise InputError(f"--pair {text}: a model stands in one pair only")
        pairs[mine] = yours
    return pairs
