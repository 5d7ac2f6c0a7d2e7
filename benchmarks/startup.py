"""How long `srkit --help` and `srkit list` take beside an empty Typer application's `--help`.

    python benchmarks/startup.py [--json benchmarks/results/startup.json]

The empty application has two commands without options. All three take turns, so that they see the
same noise of the machine; ratios are of medians of processor time, with the start of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EMPTY = """
import typer

app = typer.Typer(add_completion=False)

@app.command()
def one() -> None:
    "One."

@app.command()
def two() -> None:
    "Two."

app()
"""
TURNS = 15
MOST = 1.5


def seconds(words: list[str]) -> float:
    """Run Python with these arguments; return its processor time."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Measure, print, and say whether both are within their limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    target = parser.parse_args().json
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.py")
        empty.write_text(EMPTY)
        commands = {
            "empty": [str(empty), "--help"],
            "srkit --help": ["-m", "srkit", "--help"],
            "srkit list": ["-m", "srkit", "list"],
        }
        rows = [{name: seconds(words) for name, words in commands.items()} for _ in range(TURNS)]
    times = {name: statistics.median(row[name] for row in rows[1:]) for name in commands}
    ratios = {name: times[name] / times["empty"] for name in commands if name != "empty"}
    result = {"processor": processor(), "python": platform.python_version(), "seconds": times}
    result |= {"ratios": ratios, "most": MOST, "ok": max(ratios.values()) <= MOST}
    print(json.dumps(result, indent=2))
    if target:
        target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
