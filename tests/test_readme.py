"""README's commands are the ones that are checked."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRY = "python -m pip install . && srkit demo"
DEVELOP = "python -m pip install -e '.[dev]' && python -m pytest"


def commands_of(script: str) -> list[list[str]]:
    """Return the script's command lines as words; comments and unfinished quotes left out."""
    lines: list[list[str]] = []
    for line in script.splitlines():
        try:
            lines.append(shlex.split(line, comments=True))
        except ValueError:
            continue
    return lines


@pytest.mark.parametrize("command", [TRY, DEVELOP])
def test_the_commands_stand_as_they_are_run(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_ci_runs_the_developers_command() -> None:
    lines = commands_of((ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    for part in DEVELOP.split(" && "):
        wanted = shlex.split(part)
        assert any(line[-len(wanted) :] == wanted for line in lines), part


def test_the_packaging_line_is_the_examples() -> None:
    example = ROOT / "docs" / "examples" / "srkit-espcn" / "pyproject.toml"
    line = '[project.entry-points.srkit]\nespcn = "srkit_espcn"\n'
    assert line in (ROOT / "README.md").read_text(encoding="utf-8")
    assert line in example.read_text(encoding="utf-8")
