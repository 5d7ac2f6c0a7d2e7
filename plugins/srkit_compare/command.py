"""``srkit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A.json", help="What `srkit bench --json` wrote, or a folder of --report."
        ),
    ],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="The report to compare with A.")],
    json: Annotated[Path | None, typer.Option(help="JSON file of the comparison.")] = None,
) -> None:
    """Compare two reports of `srkit bench`, image by image.

    Examples:
        srkit compare before.json after.json
        srkit compare a/ b/ --json difference.json
    """
    from srkit.evaluation.report import Report
    from srkit_compare.comparison import compare

    comparison = compare(Report.read(a), Report.read(b), names=(str(a), str(b)))
    Console().print(comparison.tables())
    if json:
        comparison.write(json)
