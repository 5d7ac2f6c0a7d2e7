"""What a client may name: models, runs and reports that the server lists; never a path."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from srkit import registry
from srkit.errors import SrkitError
from srkit_ui.store import RefusedError

LOG, WEIGHTS = "log.jsonl", "model.safetensors"  # of a run
MOST = 500  # runs, and reports, that are listed
POINTS = 600  # of a curve, about
QUIET = 300  # seconds without a line, after which a run seems to have ended
TEMPLATES = jinja2.Environment(autoescape=True, loader=jinja2.PackageLoader(__package__, "static"))


class Catalogue:
    """Models, training runs, and reports that lie at most two folders down."""

    def __init__(self, runs: Path, reports: Path) -> None:
        self._runs, self._reports = runs, reports

    def models(self) -> dict[str, tuple[str, float]]:
        """Return the models that may be named: what `srkit.load` takes, and when it was written."""
        runs = {f"run {f.name}": (str(f), _written(f / WEIGHTS)) for f in self.runs().values()}
        whole = {name: model for name, model in runs.items() if model[1]}
        return {name: (name, 0.0) for name in registry.offers("models")} | whole

    def described(self) -> list[dict[str, Any]]:
        """Return what there is to say of each model, a failing plugin's left out."""
        rows = []
        for name in self.models():
            row = {"name": name, "scale": None, "text": "a run's weights", "generates": True}
            with suppress(SrkitError):
                if name in registry.offers("models"):
                    ready = registry.build("models", name)
                    row |= {"scale": ready.scale, "text": ready.description}
                    row["generates"] = ready.file is not None
                rows.append(row)
        return rows

    def card(self, model: str) -> str:
        """Return a model's card as HTML; HTML and images in it are left out."""
        ready = registry.build("models", model) if model in registry.offers("models") else None
        text = f"{ready.description}\n\nLicence: {ready.licence}\n" if ready else "Your own."
        if ready and ready.card:
            text = ready.card.read_text(encoding="utf-8", errors="replace")
            text = re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)
        renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
        return str(renderer.render(text))

    def runs(self) -> dict[str, Path]:
        """Return runs' folders by their keys, the one that was last written first."""
        return _keyed(self._runs.glob(f"*/{LOG}"))

    def reports(self) -> dict[str, Path]:
        """Return the folders of ``srkit bench --report`` by their keys, the newest first."""
        folders = (self._reports.glob(f"{depth}report.json") for depth in ("", "*/", "*/*/"))
        return _keyed(file for files in folders for file in files)

    def run(self, key: str) -> str:
        """Return a run as HTML: how far it is, time left, curves, image grids."""
        try:
            recipe = tomllib.loads(read(self.runs(), key, "recipe.toml").decode())
            records = list(_records(read(self.runs(), key, LOG).decode(errors="replace")))
            folder = self.runs()[key]
        except (KeyError, ValueError) as error:
            return f"<p role=alert>That run can't be read: {escape(str(error))}</p>"
        step, every = max((r["step"] for r in records), default=0), len(records) // POINTS + 1
        rates = [r["images_per_second"] for r in records if "images_per_second" in r][-10:]
        seconds = (recipe["steps"] - step) * recipe["batch_size"] * len(rates) / (sum(rates) or 1)
        return TEMPLATES.get_template("run.html").render(
            **{"key": key, "name": folder.name, "recipe": recipe, "step": step, "rates": rates},
            finished=(folder / WEIGHTS).is_file(),
            quiet=time.time() - _written(folder / LOG) > QUIET,
            left=datetime.timedelta(seconds=round(seconds)),
            events=[record for record in records if "event" in record][-5:],
            log=[r for n, r in enumerate(records) if not n % every or "validation" in r],
            grids=sorted((int(f.stem[5:]) for f in folder.glob("grid-*.png")), reverse=True)[:4],
        )


def _records(text: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a log; a torn line is left out."""
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):
            record = json.loads(line)
            yield {**record, "step": int(record["step"])}


def read(folders: dict[str, Path], key: str, name: str) -> bytes:
    """Return a file of a listed folder."""
    try:
        return (folders[key] / name).read_bytes()
    except (KeyError, OSError) as error:
        raise RefusedError(f"{name} isn't there any more", 404) from error


def _written(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0


def _keyed(files: Iterable[Path]) -> dict[str, Path]:
    folders = [file.parent for file in sorted(files, key=_written, reverse=True)[:MOST]]
    return {hashlib.sha256(str(f.absolute()).encode()).hexdigest()[:16]: f for f in folders}
