"""From a report to a folder: the page, its figures, the JSON and the single scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from srkit.errors import InputError
from srkit.evaluation import scores
from srkit.evaluation.cases import Case
from srkit.evaluation.page import charts, identity_parts, parts, pictures, summary
from srkit.evaluation.page.sections import Cell, Figure, PlainTable, Section
from srkit.files import atomic

if TYPE_CHECKING:
    import jinja2

    from srkit.evaluation.report import Report

PAGE, JSON, SCORES, FIGURES = "index.html", "report.json", "scores.csv", "figures"
IDENTITY = "scores-identity.csv"  # where there are distances beside scores of pictures
GENERATOR = '<meta name="generator" content="srkit bench">'
LEAST = 480  # pixels of width that a picture in a section is enlarged to, if it is smaller
NUMBER = re.compile(r"[<+\u2212-]?\s?[\d,]*\.?\d+(?=$|[\s%\]):])|[+\u2212]?\u221e|not stated$")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
# Figures of a page before this one, which are replaced with it.
OURS = re.compile(r'data-file="figures/([A-Za-z0-9-]+)\.png"')


@dataclass(frozen=True)
class Drawn:
    """A figure, ready for the page.

    Attributes:
        name: Of its file.
        caption: Beneath.
        alt: For those who can't see it.
        vectors: An ``svg`` element; "" if it has pixels.
        source: A data address of pixels; "" if it has vectors.
        width: Of pixels, as shown.
        height: The same.
        png: The file.
    """

    name: str
    caption: str
    alt: str
    vectors: str
    source: str
    width: int
    height: int
    png: bytes


def write(
    report: Report,
    folder: Path | str,
    *,
    cases: Sequence[Case] = (),
    logs: Mapping[str, Path] | None = None,
    sections: Sequence[Section] = (),
    title: str = "",
) -> Path:
    """Write ``index.html``, ``figures/*.png``, ``report.json`` and ``scores.csv``.

    The page holds everything that it shows, needs no network and no script. Figures of a report
    that was here before are replaced; other files stay as they are.

    Args:
        report: What was measured.
        folder: Made if there is none.
        cases: Pictures to show, from `srkit.evaluation.cases.make`.
        logs: Model to the ``log.jsonl`` of its training, for the bars of Fig. 7.
        sections: Further ones, after the summary.
        title: Of the page; made of the report if there is none.

    Returns:
        The page.

    Raises:
        InputError: The folder can't be written.
        ValueError: Two figures have one name, or a name isn't letters, digits and hyphens.
    """
    folder = Path(folder)
    made = [*sections]
    quality = parts.quality_section(report.quality) if report.quality else None
    made += [quality] if quality else []
    if report.distances or report.whole:
        made.append(identity_parts.distances_section(report.distances, report.whole))
    if report.pairs:
        made.append(identity_parts.pairs_section(report.pairs))
    if training := parts.training_section(logs or {}):
        made.append(training)
    figures = [_drawn(figure) for section in made for figure in section.figures]
    shown = {"sections": made, "quality": quality, "figures": {f.name: f for f in figures}}
    html = _page(report, cases, {**shown, "title": title or summary.heading(report)})
    files = {figure.name: figure.png for figure in figures}
    if cases and report.quality:
        metrics = parts.main_metrics(report.quality)
        files["cases"] = pictures.encoded(pictures.sheet(cases, report.quality, metrics))
    names = [figure.name for figure in figures]
    if len(set(names)) != len(names) or "cases" in names:
        raise ValueError(f"two figures of one name among {', '.join(names)}")
    _put(report, folder, html, files)
    return folder / PAGE


def _put(report: Report, folder: Path, html: str, figures: Mapping[str, bytes]) -> None:
    """Write all files, the page last: it stands for a report that is whole."""
    try:
        before = _figures_before(folder / PAGE)
        report.write(folder / JSON)
        tables = scores.write(report, folder / SCORES)
        for name, png in figures.items():
            with atomic(folder / FIGURES / f"{name}.png") as temporary:
                temporary.write_bytes(png)
        with atomic(folder / PAGE) as temporary:
            # Names of files may hold bytes that are no text.
            temporary.write_bytes(html.encode("utf-8", "replace"))
        if before is not None:
            _clear(folder, before - figures.keys(), tables)
    except OSError as error:
        raise InputError(f"can't write the report into {folder}: {error}") from error


def _figures_before(page: Path) -> set[str] | None:
    """Return the names of the figures of the page that is about to be replaced, if it is ours."""
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    return set(OURS.findall(text)) if GENERATOR in text else None


def _clear(folder: Path, figures: set[str], tables: Sequence[Path]) -> None:
    """Remove what the report before had and this one has not."""
    for name in figures:
        (folder / FIGURES / f"{name}.png").unlink(missing_ok=True)
    for file in (folder / SCORES, folder / IDENTITY):
        if file not in tables:
            file.unlink(missing_ok=True)


def _drawn(figure: Figure) -> Drawn:
    if not NAME.fullmatch(figure.name):
        raise ValueError(f"a figure's name is letters, digits and hyphens, not {figure.name!r}")
    about = (figure.name, figure.caption, figure.alt)
    picture = figure.picture
    if isinstance(picture, Image.Image):
        png, size = pictures.encoded(picture), picture.size
    elif isinstance(picture, bytes):
        png, size = picture, _size(picture)
    else:
        return Drawn(*about, charts.svg(picture, figure.name), "", 0, 0, charts.png(picture))
    times = max(1, LEAST // size[0])
    source = pictures.data_address(png)
    return Drawn(*about, "", source, size[0] * times, size[1] * times, png)


def _size(png: bytes) -> tuple[int, int]:
    import io

    with Image.open(io.BytesIO(png)) as image:
        return image.size


def _page(report: Report, cases: Sequence[Case], content: dict[str, Any]) -> str:
    quality = report.quality
    shown: list[dict[str, Any]] = []
    rule: list[str] = []
    if cases and quality:
        metrics = parts.main_metrics(quality)
        rule = pictures.rule(cases[0], quality)
        shown = [
            {
                "case": case,
                "said": pictures.said(case, quality),
                "tiles": pictures.tiles(case, quality, metrics),
            }
            for case in cases
        ]
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            summary=summary.summary(report),
            warnings=report.warnings,
            **content,
            anchors=_anchors(content["sections"]),
            cases=shown,
            rule=rule,
            protocols=parts.protocols(report),
            models=parts.models(report),
            command=report.run.get("command", ""),
            run=list(parts.run_rows(report)),
        )
    )


def _anchors(sections: Sequence[Section]) -> list[str]:
    """Return an id for each section, made of its title."""
    found: list[str] = []
    taken = {"cases", "protocol", "models", "again"}
    for number, section in enumerate(sections, 1):
        name = "-".join(re.findall(r"[a-z0-9]+", section.title.lower())) or "section"
        found.append(f"{name}-{number}" if name in taken else name)
        taken.add(found[-1])
    return found


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and models may hold anything
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["numeric"] = numeric
    made.tests["cell"] = lambda value: isinstance(value, Cell)
    return made


def numeric(table: PlainTable) -> list[bool]:
    """Return for each column whether it holds numbers; the first never does."""
    found = [False]
    for column in list(zip(*table.rows, strict=True))[1:]:
        filled = [cell for cell in column if cell not in ("", "\N{EN DASH}")]
        found.append(2 * sum(bool(NUMBER.match(cell)) for cell in filled) > len(filled))
    return found if table.rows else [False] * len(table.headings)
