"""A paper's figures rebuilt: pictures chosen by rule, enlarged by repeating their pixels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from srkit.evaluation import cases, statistics
from srkit.evaluation.cases import Pixels
from srkit.evaluation.columns import BICUBIC, HR, LR, REFERENCES, Column
from srkit.evaluation.measuring import ordered
from srkit.evaluation.page.numbers import number, words
from srkit.evaluation.page.sections import Figure, PlainTable, Section
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.studies import details
from srkit.evaluation.studies.details import Box, Details
from srkit.evaluation.studies.published import Probes, Region, SideBySide, Texture
from srkit.evaluation.studies.sheets import Tile, sheet
from srkit.evaluation.studies.study import Study
from srkit.imaging import codec

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances
    from srkit.evaluation.report import Report
    from srkit.hookspecs import Person


@dataclass(frozen=True)
class Bench:
    """What was compared, on what, and what came of it.

    Attributes:
        report: Of the bench.
        details: Measures beside it.
        columns: What enlarged.
        files: Test photos.
        protocol: How they were framed and degraded.
        drawn: People of the identity distances, with their photos.
        crops: Photos to their faces, uint8, ``B3SS``.
    """

    report: Report
    details: Details
    columns: Sequence[Column]
    files: Sequence[Path]
    protocol: Protocol
    drawn: Sequence[Person] = ()
    crops: Callable[[Sequence[Path]], torch.Tensor] | None = None


def sections(study: Study, bench: Bench) -> list[Section]:
    """Rebuild every figure of a study that the bench has something for."""
    drawing: dict[type, Callable[[Any, Bench], Section | None]] = {
        SideBySide: side_by_side,
        Region: region,
        Texture: texture,
        Probes: probes,
    }
    made = [drawing[type(figure)](figure, bench) for figure in study.figures]
    return [section for section in made if section]


# --- Fig. 4: side by side ------------------------------------------------------------------------


def side_by_side(figure: SideBySide, bench: Bench) -> Section | None:
    """Return best, median and worst pictures: LR, bicubic, the scenarios, HR."""
    chosen = _chosen(figure.by, figure.metric, bench)
    if not chosen:
        return None
    rows = []
    for case in chosen:
        scores = case.choice.scores
        rows.append(
            [
                Tile(LR, case.lr, f"{case.choice.rank}: {case.choice.picture}"),
                *(
                    Tile(name, pixels, _score(scores, name, figure.metric, bench))
                    for name, pixels in case.pictures.items()
                ),
            ]
        )
    rule = (
        f"Pictures by rule: best, median and worst of {len(bench.files):,} by the gain of "
        f"{figure.by} over bicubic in {figure.metric}, whose scores stand beneath. Pixels are "
        "repeated, never smoothed."
    )
    return _section(figure.source, "side by side", rows, rule)


def _chosen(by: str, metric: str, bench: Bench) -> list[cases.Case]:
    quality = bench.report.quality
    if quality is None:
        return []
    files = [picture.file for picture in ordered(bench.files)]
    choices = cases.choose(quality, by, metric)
    return cases.make(bench.columns, files, bench.protocol, choices)


def _score(
    scores: Mapping[str, Mapping[str, float]], column: str, metric: str, bench: Bench
) -> str:
    quality = bench.report.quality
    if quality is None or column == HR or metric not in scores.get(column, {}):
        return ""
    unit = quality.metrics[metric].get("unit") or ""
    return f"{number(scores[column][metric], 2 if unit == 'dB' else 4)} {unit}".strip()


# --- Fig. 5: a part of the face ------------------------------------------------------------------


def region(figure: Region, bench: Bench) -> Section:
    """Return a part of the face in two scenarios: where one gains most over the other, and half."""
    errors = bench.details.regions.get(figure.name)
    box = bench.details.boxes.get(figure.name)
    if errors is None or box is None:
        why = (
            f"the {figure.name} isn't shown: framing '{bench.protocol.framing}' doesn't tell where"
        )
        return Section(f"{figure.source}: the {figure.name}", [f"{why} it is."])
    worse, better = errors[figure.worse], errors[figure.better]
    gains = [a - b for a, b in zip(worse, better, strict=True)]
    middle = gains.index(median_low(gains))
    chosen = {"largest gain": gains.index(max(gains)), "median": middle}
    names = [figure.worse, figure.better]
    rows = []
    for rank, index in chosen.items():
        made = _pictures(index, bench)
        name = bench.details.pictures[index]
        whole = Tile(HR, made[HR], f"{rank}: {name}", box)
        parts = [
            Tile(
                f"{column}: {figure.name}",
                _cut(made[column], box),
                f"error {number(errors[column][index], 1)}" if column != HR else "",
            )
            for column in (*names, HR)
        ]
        rows.append([whole, *parts])
    return _section(figure.source, f"the {figure.name}", rows, _region_rule(figure, gains, errors))


def _region_rule(
    figure: Region, gains: Sequence[float], errors: Mapping[str, Sequence[float]]
) -> str:
    nearer, total = sum(gain > 0 for gain in gains), len(gains)
    found = statistics.difference(errors[figure.worse], errors[figure.better])
    return (
        f"{figure.better} is nearer to the truth at the {figure.name} than {figure.worse} on "
        f"{nearer:,} of {total:,} pictures ({number(100 * nearer / total, 0)}%); its error there "
        f"(root of the mean squared error, of 255) is lower by {number(found.mean, 2)} on "
        f"average (95%: {words(found.low, found.high, 2)}). Shown by rule: the picture of the "
        "largest gain, which flatters, and that of the median gain. The place is that of CelebA's "
        "aligned faces. Nearer to the truth isn't the same as more realistic: what is blurred in "
        "the middle may be nearer than what is drawn sharp."
    )


def _pictures(index: int, bench: Bench) -> dict[str, Pixels]:
    """Return one test picture in all columns that are shown, by the details' order."""
    file = ordered(bench.files)[index].file
    hr = bench.protocol.hr(file)
    lr = bench.protocol.degrade(hr)
    with torch.inference_mode():
        made = {c.name: _pixels(c(lr)) for c in _shown(bench.columns)}
    return {LR: _pixels(lr), **made, HR: _pixels(hr)}


def _shown(columns: Sequence[Column]) -> list[Column]:
    return [c for c in columns if c.name == BICUBIC or c.name not in REFERENCES]


# --- Fig. 6: texture -----------------------------------------------------------------------------


def texture(figure: Texture, bench: Bench) -> Section | None:
    """Return the windows richest in what LR can't hold, and how much of it each scenario has."""
    scale = bench.protocol.scale
    rows = []
    for case in _chosen(figure.by, figure.metric, bench):
        hr = torch.from_numpy(case.pictures[HR]).permute(2, 0, 1)[None] / 255
        box = details.window(hr, scale, figure.window, _within(figure, bench.protocol))
        whole = Tile(HR, case.pictures[HR], f"{case.choice.rank}: {case.choice.picture}", box)
        parts = [
            Tile(name, _cut(pixels, box), _share(pixels, hr, box, scale) if name != HR else "")
            for name, pixels in case.pictures.items()
        ]
        rows.append([whole, *parts])
    if not rows:
        return None
    shares = bench.details.texture
    table = PlainTable(
        ["", "of HR's energy", "95%"],
        [
            [name, number(statistics.mean(v), 3), words(*statistics.interval(v), 3)]
            for name, v in shares.items()
            if name != HR
        ],
        "Energy beyond LR's Nyquist limit (above 1 / (2 x scale) cycles a pixel, across or down) "
        f"of luma, over all {len(bench.details.pictures):,} test pictures, as a share of HR's. "
        "Made up texture and noise count as well: a share near 1 says how much there is, not that "
        "it is right.",
        "Fine texture",
    )
    side = rows[0][1].pixels.shape[1]
    rule = (
        f"The pictures of the figure side by side; of each, the window of {side}x{side} pixels in "
        "which HR holds most energy beyond LR's Nyquist limit"
        + (", of those on CelebA's aligned heads" if figure.within else "")
        + ". Beneath: the window's energy as a share of HR's."
    )
    return _section(figure.source, "texture", rows, rule, [table])


def _within(figure: Texture, protocol: Protocol) -> Box | None:
    if figure.within is None:
        return None
    return details.framed(figure.within, protocol.framing, protocol.size)


def _share(pixels: Pixels, hr: torch.Tensor, box: Box, scale: int) -> str:
    left, top, right, bottom = box
    sr = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    mine, its = (
        float(details.fine(p, scale)[..., top:bottom, left:right].square().mean()) for p in (sr, hr)
    )
    return f"{mine / its:.2f} of HR's" if its else ""


# --- Fig. 8: base and probes ---------------------------------------------------------------------


def probes(figure: Probes, bench: Bench) -> Section:
    """Return each drawn person's base and probes, with distances to the base."""
    measured = bench.report.distances
    if measured is None or bench.crops is None or not bench.drawn:
        return Section(f"{figure.source}: base and probes", ["No faces were compared."])
    by_name = {person.name: {p.name: p for p in person.photos} for person in bench.drawn}
    shown = {c.name: c for c in bench.columns if c.name in (BICUBIC, *figure.scenarios)}
    rows = []
    for row in measured.rows:
        photos = by_name[row.person]
        base, probe = bench.crops([photos[row.base], photos[row.photo]])
        rows.append(_probe_row(row, base, probe, shown, bench.protocol))
    rule = (
        "A row a probe: the person's base photo, then the probe. Beneath, the distance between the "
        f"embeddings of base and picture, by {measured.protocol.get('embedder', 'the embedder')}: "
        "lower is more alike. People and photos were drawn by seed "
        f"{measured.protocol.get('seed', 0)}."
    )
    return _section(figure.source, "base and probes", rows, rule, count=measured)


def _probe_row(
    row: Any,
    base: torch.Tensor,
    probe: torch.Tensor,
    shown: Mapping[str, Column],
    protocol: Protocol,
) -> list[Tile]:
    hr = probe[None].float() / 255
    lr = protocol.degrade(hr)

    def tile(name: str, picture: torch.Tensor) -> Tile:
        return Tile(name, _pixels(picture), number(row.distances[name], 3))

    truth = Tile(HR, probe.permute(1, 2, 0).numpy(), f"{row.photo}: {row.distances[HR]:.3f}")

    with torch.inference_mode():
        made = [tile(name, column(lr)) for name, column in shown.items()]
    first = Tile("base", _pixels(base[None].float() / 255), f"{row.person}: {row.base}")
    return [first, truth, tile(LR, lr), *made]


# --- sheets --------------------------------------------------------------------------------------


def _section(
    source: str,
    what: str,
    rows: Sequence[Sequence[Tile]],
    rule: str,
    tables: Sequence[PlainTable] = (),
    *,
    count: Distances | None = None,
) -> Section:
    name = "-".join(re.findall(r"[a-z0-9]+", f"{source} {what}".lower()))
    columns = ", ".join(dict.fromkeys(tile.heading for row in rows for tile in row))
    alt = f"{len(rows)} rows of pictures. Columns: {columns}. "
    if count is not None:
        alt += f"Distances of {count.people} people stand beneath."
    else:
        alt += "Rows: " + "; ".join(row[0].under for row in rows if row[0].under) + "."
    figure = Figure(name, sheet(rows), f"{source} rebuilt: {what}.", alt)
    return Section(f"{source}: {what}", [rule], list(tables), [figure])


def _pixels(pictures: torch.Tensor) -> Pixels:
    pixels: Pixels = codec.to_uint8(pictures)[0].permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def _cut(pixels: Pixels, box: Box) -> Pixels:
    left, top, right, bottom = box
    return np.ascontiguousarray(pixels[top:bottom, left:right])
