"""Show how large the house is, against its plan; `nox -s house` runs it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

PLAN = {
    "srkit/*.py": 1600,
    "srkit/imaging": 1000,
    "srkit/data": 800,
    "srkit/training": 1650,
    "srkit/inference": 800,
    "srkit/faces": 550,
    "srkit/models": 760,
    "srkit/batch": 600,
    "srkit/evaluation": 2900,
    "srkit/cli": 1500,
}
PLUGIN = 900
# A word that isn't the field's, as a regular expression, and what to write in its place.
GLOSSARY = {
    r"enlarg(e|ed|es|ing)\b": "upscale",
    r"pictures? a second": "images/s",
    r"\bcritics?\b": "discriminator",
    r"\bjudgements?\b": "d_real, d_fake",
    r"\bpleased?\b": "loss embedders",
    r"\bcoincidence\b": "embedder_overlap",
    r"\b(told|said|found|made|its|given|asked)\b(?= =)": "what the thing is",
    r"\b(opposed|beside|turns|rebuilt|digest)\b(?=[ \w]*[=(:])": "what it computes",
    r"\b[Bb]atches in all\b": "training steps",
    r"\bso (many|often)\b": "a number",
    r'(?m)^ +\w+: Of\b|help="Of\b': "a noun phrase",
    r"\b(nobody|whom)\b": "plain words",
}
MOST = 10


def sources(place: str) -> list[Path]:
    """Return the Python files of a package, or those that a pattern names."""
    return sorted(Path().glob(place) if "*" in place else Path(place).rglob("*.py"))


def lines(files: list[Path]) -> int:
    """Return the number of lines in files."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def functions(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the length and place of every function in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield length, f"{file}:{node.lineno} {node.name}"


def show(title: str, rows: list[tuple[int, str]]) -> None:
    """Print rows of a number and what it counts."""
    print(f"\n{title}")
    for count, what in rows:
        print(f"{count:7,}  {what}")


def main() -> None:
    """Print packages, layers, the largest files and functions, and words to replace."""
    core = sources("srkit")
    plan = PLAN | dict.fromkeys(map(str, sorted(Path("plugins").glob("srkit_*"))), PLUGIN)
    others = sorted(str(p) for p in Path("srkit").iterdir() if p.is_dir() and str(p) not in plan)
    plan |= {other: 0 for other in others if sources(other)}
    rows = [(lines(sources(place)), f"of {most:,}  {place}") for place, most in plan.items()]
    show("Lines, of the plan's", [*rows, (lines(core), f"of {12_500:,}  srkit together")])
    show("Lines elsewhere", [(lines(sources(place)), place) for place in ("tests", "benchmarks")])

    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(each["layers"] for each in contracts["contracts"] if each["type"] == "layers")
    show(
        "Layers, each importing from those below",
        [(len(layers) - i, layer) for i, layer in enumerate(layers)],
    )

    files = [*core, *sources("plugins")]
    sizes = sorted(((lines([file]), str(file)) for file in files), reverse=True)
    show("Largest files", sizes[:MOST])
    longest = sorted((row for file in files for row in functions(file)), reverse=True)
    show("Longest functions", longest[:MOST])

    texts = [*files, *sources("docs/*.md"), Path("README.md")]
    counts = []
    for word, instead in GLOSSARY.items():
        found = {f: len(re.findall(word, f.read_text(encoding="utf-8"))) for f in texts}
        where = max(found, key=lambda file: found[file])
        if found[where]:
            counts.append((sum(found.values()), f"{word}  ->  {instead}  (most in {where})"))
    show("Words that the glossary replaces", sorted(counts, reverse=True))


if __name__ == "__main__":
    main()
