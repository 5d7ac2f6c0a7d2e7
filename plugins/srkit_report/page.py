"""From a report to a page: what was measured, the first table, images, then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from srkit.errors import escaped
from srkit.progress import duration
from srkit_report.charts import INTERPOLATION, NAMES, SHEET, Figure, contact_sheet, figures
from srkit_report.examples import examples, has_hr, headline
from srkit_report.images import address, decimal, shown
from srkit_report.scores import save

if TYPE_CHECKING:
    from srkit.evaluation.report import Quality, Report
    from srkit.evaluation.tables import Table

PAGE, FIGURES = "index.html", "figures"
# What each section shows, by the tables' names.
SECTIONS = {
    "Quality": ("quality",),
    "Judges": ("judges",),
    "Differences": ("gains", "versus"),
    "Identity": ("distances", "everybody", "photos"),
    "Verification": ("pairs", "sizes"),
}
# Tables whose first numbers are summed up.
DECISIVE = {
    "quality": "Quality",
    "distances": "Identity",
    "everybody": "Identity, everybody",
    "pairs": "Verification",
}
PARTS = {
    "quality": "quality",
    "distances": "identity, drawn",
    "everybody": "identity, everybody",
    "pairs": "verification",
}

WITHOUT_HR = (
    "Quality: without HR no number says which result is right. LR consistency tells whether a "
    "result fits what was seen, metrics of sr alone how natural it looks."
)


class Section(NamedTuple):
    """A part of the page."""

    title: str
    tables: list[Table]  # those that the report has
    figures: list[Figure]


def write_markdown(report: Report, folder: Path) -> None:
    """Write a report's tables as ``report.md``."""
    save(folder / "report.md", report.tables().markdown().encode("utf-8", "replace"))


def write(report: Report, folder: Path) -> None:
    """Write a report as ``index.html``, and its charts into ``figures``.

    Args:
        report: What was measured.
        folder: Where; it exists. Charts of a report that was there before are removed.
    """
    tables = {table.name: table for table in report.tables()}
    drawn = figures(report, tables)
    sections = [
        Section(
            title,
            [table for table in tables.values() if base(table.name) in names],
            [figure for name in names for figure in drawn.get(name, [])],
        )
        for title, names in SECTIONS.items()
        if any(base(name) in names for name in tables)
    ]
    quality, render = report.quality, report.render
    chosen = list(examples(quality, render)) if quality and render else []
    run = dict(report.run)
    run.pop("command", None)
    seconds = run.pop("seconds", 0)
    html = _template().render(
        title=f"Bench of {', '.join(_models(report))}",
        measured=list(measured(report)),
        findings=list(findings(report, tables)),
        report=report,
        sections=sections,
        images=[shown(example, quality) for example in chosen if quality],
        has_hr=not quality or has_hr(quality),
        protocols={
            ", ".join(filter(None, (title, judge))): dict(fields(getattr(measures, part).protocol))
            for judge, measures in report.by_judge()
            for part, title in PARTS.items()
            if getattr(measures, part)
        },
        methods=_transposed({name: dict(fields(model)) for name, model in report.models.items()}),
        run={"value": {**dict(fields(run)), "duration": duration(seconds)}},
    )
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    pngs = {figure.name: figure.png for names in drawn.values() for figure in names}
    if chosen:
        pngs[SHEET] = contact_sheet(chosen).png
    for name in (*NAMES, SHEET):
        file = folder / FIGURES / f"{name}.png"
        if name in pngs:
            save(file, pngs[name])
        else:
            file.unlink(missing_ok=True)
    # Names of files may hold bytes that are no text.
    save(folder / PAGE, html.encode("utf-8", "replace"))


def _models(report: Report) -> list[str]:
    return [name for name in report.models if name not in INTERPOLATION] or list(report.models)


def measured(report: Report) -> Iterator[str]:
    """Yield what was measured, a sentence a part."""
    if quality := report.quality:
        protocol = quality.protocol
        yield (
            f"Quality of {', '.join(_models(report))} beside interpolation on "
            f"{len(quality.images):,} images, x{protocol.get('scale')}, by the protocol "
            f"{': '.join(filter(None, (protocol['name'], protocol.get('description'))))}."
        )
    for _, measures in report.by_judge():
        for part in (measures.distances, measures.everybody):
            if part:
                yield (
                    f"Identity distances of {len(part.rows):,} photos of {part.people:,} people by "
                    f"the embedder {part.protocol['embedder']}."
                )
        if pairs := measures.pairs:
            yield (
                f"Verification on {pairs.same:,} pairs of the same person and {pairs.impostors:,} "
                f"impostors by the embedder {pairs.protocol['embedder']}."
            )


def findings(report: Report, tables: Mapping[str, Table]) -> Iterator[str]:
    """Yield which method is the best by the number of a table that counts, or that none is.

    That is the first number of a table, but never LSD.
    """
    for name, table in tables.items():
        if base(name) not in DECISIVE:
            continue
        place, metric = 0, ""
        if report.quality and name == "quality":
            if not has_hr(report.quality):
                yield WITHOUT_HR
                continue
            if (metric := headline(report.quality)) == "lsd":
                continue
            place = list(report.quality.metrics).index(metric)
        judge = name.removeprefix(base(name))
        by = f"{DECISIVE[base(name)]}{judge and ',' + judge}, by {table.headings[place]}"
        best = [(labels[0], values[place]) for labels, values in table.rows if values[place].best]
        for method, value in best:
            score = number(f"{value} {value.interval}".strip())
            if report.quality and name == "quality":
                score += f"; {_lead(report.quality, method, metric)}"
            yield f"{by}: {method} is better than every other method ({score})."
        if not best:
            yield f"{by}: no method is better than all others beyond doubt."


def _lead(quality: Quality, best: str, metric: str) -> str:
    """Return what the best method gains over the next one, with its interval."""
    about, others = quality.metrics[metric], [m for m in quality.scores if m != best]
    better = max if about["higher_is_better"] else min
    following = better(others, key=lambda method: quality.mean(method, metric))
    gain, low, high = (decimal(x, about, "+") for x in quality.gain(best, metric, following))
    return f"{gain} [{low}, {high}] over {following}, the next"


def base(name: str) -> str:
    """Return the name of a table without that of a further judge, which comes after it."""
    return name.partition(" ")[0]


def fields(stamp: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values by dotted path, empty ones too."""
    for key, value in stamp.items():
        if isinstance(value, Mapping) and value:
            yield from fields(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)) and value:
            yield prefix + key, ", ".join(map(str, value))
        else:
            empty = value is None or value in ("", {}, [], ())
            yield prefix + key, "none" if empty else str(value)


def number(value: object) -> str:
    """Return a number with a true minus."""
    return "\N{EN DASH}" if str(value) == "-" else str(value).replace("-", "\N{MINUS SIGN}")


def rows(columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the names of all rows that columns have."""
    return list(dict.fromkeys(row for column in columns.values() for row in column))


def _transposed(columns: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {
        row: {name: column[row] for name, column in columns.items() if row in column}
        for row in rows(columns)
    }


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and models may hold anything
        finalize=lambda value: escaped(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "address": address}
    environment.globals["rows"] = rows
    return environment.get_template("page.html.jinja")
