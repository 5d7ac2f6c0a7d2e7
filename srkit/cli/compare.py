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
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another; it is compared with A.")],
    json: Annotated[Path | None, typer.Option(help="Write the comparison there.")] = None,
) -> None:
    """Hold two reports against each other, picture by picture; refuse different protocols."""
    from srkit.evaluation.compare import compare as held_together
    from srkit.evaluation.report import Report

    found = held_together(Report.read(a), Report.read(b), names=(str(a), str(b)))
    Console().print(found.tables())
    if json:
        found.write(json)
