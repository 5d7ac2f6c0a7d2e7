"""Everything one bench measured, as a file that can be read again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import InputError
from srkit.evaluation.identity import Distances, Pairs
from srkit.evaluation.quality import Quality
from srkit.files import write_text

if TYPE_CHECKING:
    from srkit.evaluation.examples import Example
    from srkit.evaluation.tables import Tables

FORMAT = "srkit bench 2"
# Below these keys "inf" is somebody's name.
NAMES = frozenset({"person", "photo", "base", "pictures", "no_face", "left_out", "name", "command"})


@dataclass(frozen=True)
class Report:
    """Everything one bench measured.

    Attributes:
        models: Name to what is known of a model: ``sha256`` of its weights (None without any),
            ``licence``.
        quality: Scores of pictures, or None where none were given.
        distances: Identity distances of the people drawn (Table II), or None.
        whole: The same of everybody.
        pairs: Same/different verification, or None.
        warnings: What a reader must know.
        run: The command that repeats it, ``seconds``, and the machine.
        examples: The best, the median and the worst image, where the report is to show them; they
            aren't kept in files.
    """

    models: dict[str, dict[str, Any]]
    quality: Quality | None = None
    distances: Distances | None = None
    whole: Distances | None = None
    pairs: Pairs | None = None
    warnings: list[str] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    examples: Sequence[Example] = field(default=(), compare=False, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return plain values; infinite decibels become the string ``"inf"``."""
        parts = {
            "quality": self.quality,
            "distances": self.distances,
            "whole": self.whole,
            "pairs": self.pairs,
        }
        found: dict[str, Any] = _finite(
            {
                "format": FORMAT,
                "models": self.models,
                **{name: part and part.as_json() for name, part in parts.items()},
                "warnings": self.warnings,
                "run": self.run,
            }
        )
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Report:
        """Return the report that `as_json` gave these values of."""
        kinds: dict[str, Any] = {
            "quality": Quality,
            "distances": Distances,
            "whole": Distances,
            "pairs": Pairs,
        }
        values = _infinite(dict(found))
        parts: dict[str, Any] = {
            name: kind.from_json(values[name]) if values.get(name) else None
            for name, kind in kinds.items()
        }
        return cls(values["models"], **parts, warnings=values["warnings"], run=values["run"])

    @classmethod
    def read(cls, file: str | Path) -> Report:
        """Read a file that `write` wrote, or ``report.json`` in a folder.

        Raises:
            InputError: It can't be read, or is no report of this version's.
        """
        file = Path(file)
        if file.is_dir():
            file /= "report.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{file}: no such file") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: no report of srkit bench ({error})") from error
        if not isinstance(found, dict) or "models" not in found:
            raise InputError(f"{file}: no report of srkit bench")
        if found.get("format") != FORMAT:
            raise InputError(
                f"{file}: a report of another version ({found.get('format', 'srkit bench 1')}, "
                f"not {FORMAT}); measure again"
            )
        try:
            return cls.from_json(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{file}: a damaged report of srkit bench ({error!r})") from error

    def write(self, file: str | Path) -> None:
        """Write the JSON.

        Raises:
            InputError: It can't be written.
        """
        write_text(Path(file), json.dumps(self.as_json(), indent=1))

    def tables(self) -> Tables:
        """Return everything as tables."""
        from srkit.evaluation.report_tables import of_report

        return of_report(self)


def _finite(value: Any) -> Any:
    """Replace what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _infinite(value: Any) -> Any:
    """Undo `_finite`."""
    if isinstance(value, dict):
        return {k: inner if k in NAMES else _infinite(inner) for k, inner in value.items()}
    if isinstance(value, list):
        return [_infinite(inner) for inner in value]
    return float(value) if value in ("inf", "-inf", "nan") else value
