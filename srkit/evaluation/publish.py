"""A report as a folder: every number, and what plugins make of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from srkit import plugins, registry
from srkit.errors import InputError
from srkit.evaluation import scores

if TYPE_CHECKING:
    from srkit.evaluation.report import Report

JSON, SCORES, IDENTITY = "report.json", "scores.csv", "scores-identity.csv"


def publish(report: Report, folder: Path) -> None:
    """Write the JSON, the single scores, and every registered report.

    Raises:
        InputError: The folder can't be written.
    """
    try:
        again = (folder / JSON).is_file()
        report.write(folder / JSON)
        written = scores.write(report, folder / SCORES)
        for file in (folder / SCORES, folder / IDENTITY):
            if again and file not in written:
                file.unlink(missing_ok=True)
        for name, offer in registry.offers("reports").items():
            try:
                registry.find("reports", name)(report, folder)
            except (OSError, InputError):
                raise
            except Exception as error:
                if offer.plugin.built_in:
                    raise
                plugins.report(offer.plugin, f"report '{name}': {error!r}")
    except OSError as error:
        raise InputError(f"can't write the report into {folder}: {error}") from error
