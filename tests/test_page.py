"""The report's page: what it says, that it holds everything, and how it looks in a browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from srkit import InputError, registry
from srkit.evaluation import cases, page
from srkit.evaluation.columns import Column, columns
from srkit.evaluation.identity import Distances, Estimate, Pairs, PairScores, Row, SizeScores
from srkit.evaluation.page import (
    Cell,
    Figure,
    PlainTable,
    Section,
    charts,
    parts,
    pictures,
    summary,
)
from srkit.evaluation.page.write import numeric
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.quality import Quality, measure
from srkit.evaluation.report import Report
from srkit.imaging import codec

EVIL = "<script>alert('x')</script> & $\\frac$ \"q\""
MODELS = ("sharp", EVIL)
COLUMNS = ["LR", "bicubic", *MODELS, "HR"]
VOID = {"meta", "link", "img", "br"}


# --- what is shown ------------------------------------------------------------------------------


def between(lr: Tensor, share: float) -> Tensor:
    """Bicubic and nearest neighbour, mixed."""
    cubic = registry.build("generators", "bicubic", scale=4)(lr)
    blocks = torch.nn.functional.interpolate(lr, scale_factor=4, mode="nearest")
    return (1 - share) * cubic + share * blocks


@pytest.fixture(scope="module")
def compared() -> list[Column]:
    made = [
        Column(name, partial(between, share=share), str(n) * 64, "Apache-2.0")
        for n, (name, share) in enumerate(zip(MODELS, (0.3, 0.6), strict=True))
    ]
    return columns(made, 4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    import skimage.data

    folder = tmp_path_factory.mktemp("photos")
    cat = Image.fromarray(skimage.data.chelsea())
    for n in range(6):
        name = "<b>&.png" if n == 0 else f"{n}.png"
        cat.crop((50 * n, 30, 50 * n + 130, 160)).save(folder / name)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def quality(compared: list[Column], photos: list[Path]) -> Quality:
    return measure(compared, photos, Protocol.named("square"))


@pytest.fixture(scope="module")
def shown(compared: list[Column], photos: list[Path], quality: Quality) -> list[cases.Case]:
    return cases.make(compared, photos, Protocol.named("square"), cases.choose(quality, "sharp"))


def stamp() -> dict[str, Any]:
    return {
        **Protocol.named("square").changed(framing="face").model_dump(mode="json"),
        "embedder": "facenet (casia-webface)",
        "fingerprint": "0123456789abcdef",
        "versions": {"srkit": "1.2.3"},
    }


def distances() -> Distances:
    rng = np.random.default_rng(0)
    levels = dict(zip(COLUMNS, (1.3, 1.2, 0.9, 1.0, 0.25), strict=True))
    rows = [
        Row(f"{person:02d}", "1.jpg", photo, {c: levels[c] + rng.normal(0, 0.05) for c in COLUMNS})
        for person in range(5)
        for photo in ("2.jpg", "3.jpg")
    ]
    return Distances(stamp(), COLUMNS, rows, ["07/<i>.jpg"], ["08"], 5)


def pairs() -> Pairs:
    rng = np.random.default_rng(1)
    found = {}
    for n, column in enumerate(COLUMNS):
        same, different = rng.normal(1.1 - 0.15 * n, 0.1, 60), rng.normal(1.3, 0.1, 60)
        far = np.geomspace(1e-3, 1, 50)
        tar = [float((same <= np.quantile(different, share)).mean()) for share in far]
        each = Estimate(0.6 + 0.08 * n, 0.5 + 0.08 * n, 0.7 + 0.06 * n)
        curve = {"far": far.tolist(), "tar": tar}
        shares = {"0.01": each, "0.001": each}
        scores = {"auc": each, "eer": each, "tar": shares, "rank1": each, "closed": each}
        found[column] = PairScores(
            **scores, roc=curve, same=same.tolist(), different=different.tolist()
        )
    sizes = [
        SizeScores(side, 50, {c: {"auc": found[c].auc, "tar": found[c].auc} for c in COLUMNS})
        for side in (8, 16)
    ]
    return Pairs(
        protocol=stamp(),
        columns=found,
        same=60,
        different=60,
        impostors=1234,
        people=30,
        photos=90,
        no_face=[f"A/{n}.jpg" for n in range(50)],
        left_out=["Zed: one photo"],
        sizes=sizes,
    )


@pytest.fixture(scope="module")
def report(quality: Quality) -> Report:
    return Report(
        {name: {"sha256": "ab" * 32, "licence": "CC0 <b>"} for name in MODELS},
        quality,
        distances(),
        distances(),
        pairs(),
        ["sharp was trained to please its judge"],
        {"command": f"srkit bench '{EVIL}'", "seconds": 75.0, "machine": {"cores": 2}},
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of 100 batches of 16 pictures: half at 160 pictures a second, half at 80."""
    folder = tmp_path_factory.mktemp("run")
    recipe = registry.build("recipes", "faces-tiny").model_copy(update={"batch_size": 16})
    (folder / "recipe.toml").write_text(recipe.to_toml())
    records = [
        {"step": 50, "losses": {"pixel": 0.2}, "pictures_per_second": 160.0},
        {"step": 75, "validation": {"psnr": 20.0}},
        {"step": 100, "losses": {"pixel": 0.1}, "pictures_per_second": 80.0},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / "log.jsonl"


def extra() -> Section:
    pixels = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20)
    figure, (ax,) = charts.canvas()
    ax.plot([0, 1], [0, 1], color=charts.SERIES[0])
    return Section(
        "Beside the paper",
        ["Not <b>bold</b>."],
        [PlainTable(["", "theirs", "ours"], [["PSNR", "26.6", Cell("25.1", strong=True)]])],
        [
            Figure("own-pixels", pixels, "A caption.", "four pixels"),
            Figure("own-bytes", pictures.encoded(pixels), "Bytes.", "the same"),
            Figure("own-chart", figure, "A chart.", "a line"),
        ],
    )


@pytest.fixture(scope="module")
def written(
    report: Report, shown: list[cases.Case], log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    logs = {"sharp": log, "gone": log.with_name("nowhere") / "log.jsonl"}
    folder = tmp_path_factory.mktemp("out") / "deep"
    return page.write(report, folder, cases=shown, logs=logs, sections=[extra()])


class Read(HTMLParser):
    """A page as a parser sees it: its elements, its text, and whether all tags close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes another element"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(self.open), data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self) -> str:
        return " ".join(text for inside, text in self.texts if "style" not in inside)


@pytest.fixture(scope="module")
def read(written: Path) -> Read:
    return Read(written.read_text(encoding="utf-8"))


# --- the page -----------------------------------------------------------------------------------


def test_the_folder_holds_page_figures_json_and_scores(written: Path, report: Report) -> None:
    folder = written.parent
    assert {file.name for file in folder.iterdir()} == {
        "index.html",
        "figures",
        "report.json",
        "scores.csv",
        "scores-identity.csv",
    }
    figures = {file.stem for file in (folder / "figures").iterdir()}
    assert figures == {
        *("batches", "cases", "distances", "distances-everybody", "gains", "histograms"),
        *("own-bytes", "own-chart", "own-pixels", "perception-distortion", "roc", "sizes"),
    }
    for file in (folder / "figures").iterdir():
        with Image.open(file) as image:
            assert image.format == "PNG"
            assert min(image.size) > 1
    assert json.loads((folder / "report.json").read_text()) == json.loads(
        json.dumps(report.as_json())
    )


def test_nothing_is_asked_from_anywhere_else(written: Path, read: Read) -> None:
    html = written.read_text(encoding="utf-8")
    assert "http://" not in html
    assert "https://" not in html
    assert read.all("script") == []
    for _, attributes in read.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in html
    assert set(re.findall(r"url\((.)", html)) <= {"#"}


def test_names_of_files_and_models_are_text(written: Path, read: Read) -> None:
    html = written.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    said = read.said()
    for text in (EVIL, "<b>&.png", "07/<i>.jpg", "CC0 <b>", "Not <b>bold</b>."):
        assert text in said


def test_ids_are_single_and_every_reference_leads_somewhere(written: Path, read: Read) -> None:
    ids = [a["id"] for _, a in read.elements if a.get("id")]
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    for link in [a["href"] for tag, a in read.elements if tag in ("a", "use")]:
        assert link is not None
        assert link[1:] in ids
    html = written.read_text(encoding="utf-8")
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(ids)


def test_it_is_accessible(read: Read) -> None:
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("h1")) == 1
    assert all(a.get("scope") in ("row", "col") for a in read.all("th"))
    assert all(a.get("alt") for a in read.all("img"))
    drawings = [a for a in read.all("div") if a.get("role") == "img"]
    assert len(drawings) == len(read.all("svg")) == 9
    assert all(len(a["aria-label"] or "") > 5 for a in drawings)


def test_every_field_of_every_protocol_is_there(read: Read, report: Report) -> None:
    table = parts.protocols(report)
    assert list(table.headings)[1:] == ["quality", "identity, draw", "identity, everybody", "pairs"]
    assert report.quality is not None
    rows = {row[0]: row[1:] for row in table.rows}
    for key, value in report.quality.protocol.items():
        if isinstance(value, dict) and value:
            assert all(rows[f"{key}.{inner}"][0] == str(value[inner]) for inner in value)
        elif isinstance(value, list) and value:
            assert rows[key][0] == ", ".join(value)
        else:
            assert rows[key][0] in (str(value), "none")
    assert rows["embedder"][0] == "\N{EN DASH}"
    assert rows["embedder"][1] == "facenet (casia-webface)"
    said = read.said()
    for row in table.rows:
        assert all(cell in said for cell in row)


def test_what_was_run_and_warned_of_is_there(read: Read) -> None:
    said = read.said()
    assert f"srkit bench '{EVIL}'" in said
    assert "1 min 15 s" in said
    assert "cores 2" in said
    assert "sharp was trained to please its judge" in said
    assert "ab" * 32 in said
    assert "gone is left out" in said


def test_missing_faces_and_people_are_counted_and_named(read: Read) -> None:
    said = read.said()
    assert "1 photo without a face: 07/<i>.jpg." in said
    assert "50 photos without a face: A/0.jpg" in said
    assert "A/11.jpg and 38 more." in said
    assert "1 person left out: Zed: one photo." in said


def test_scores_are_the_qualitys(quality: Quality) -> None:
    table = parts.scores(quality)
    assert [row[0] for row in table.rows] == list(quality.scores)
    for place, metric in enumerate(quality.metrics, 1):
        digits = 2 if quality.metrics[metric]["unit"] == "dB" else 4
        best = max if quality.metrics[metric]["higher_is_better"] else min
        top = best(quality.mean(column, metric) for column in quality.scores)
        for row in table.rows:
            cell = row[place]
            assert isinstance(cell, Cell)
            mean = quality.mean(row[0], metric)
            assert cell == f"{mean:.{digits}f}"
            assert cell.strong == (mean == top)
            if row[0] != "bicubic":
                gain = f"{quality.gain(row[0], metric)[0]:+.{digits}f}"
                shown = cell.under.split("\n")[0].replace("\N{MINUS SIGN}", "-")
                assert float(shown) == float(gain)
        arrow = "\N{UPWARDS ARROW}" if best is max else "\N{DOWNWARDS ARROW}"
        assert table.headings[place].endswith(arrow)


def test_any_two_models_are_tested(quality: Quality) -> None:
    (table,) = parts.tests(quality)
    assert [row[0] for row in table.rows] == [f"{MODELS[1]} \N{MINUS SIGN} {MODELS[0]}"]
    cell = table.rows[0][1]
    assert isinstance(cell, Cell)
    found = next(one for one in quality.versus if one.metric == "psnr")
    assert float(cell.replace("\N{MINUS SIGN}", "-")) == pytest.approx(
        found.difference.mean, abs=0.005
    )
    assert f"p = {found.adjusted:.3f}" in cell.under


def test_columns_of_numbers_stand_to_the_right() -> None:
    table = PlainTable(
        ["1", "sha", "value", "file", "some"],
        [["9", "3f2a", "+1.20 [0, 1]", "01.jpg", "\N{EN DASH}"], ["8", "77ab", "\u221e", "x", "2"]],
    )
    assert numeric(table) == [False, False, True, False, True]


# --- the summary --------------------------------------------------------------------------------


def test_the_summary_says_what_the_numbers_say(report: Report, quality: Quality) -> None:
    said = summary.summary(report)
    best = max(MODELS, key=lambda name: quality.mean(name, "psnr"))
    assert said[0].startswith(f"On 6 pictures, {best} has the best PSNR")
    assert f"{quality.mean(best, 'psnr'):.2f} dB" in said[0]
    assert "sharp keeps faces closest: a mean distance of 0.9" in said[1]
    assert "AUC of" in said[2]


def scored(columns: dict[str, list[float]], *, up: bool = True) -> Quality:
    metrics = {"m": {"unit": "dB", "higher_is_better": up, "title": "M"}}
    count = len(columns["bicubic"])
    return Quality(
        protocol={"name": "plain", "fingerprint": "0"},
        pictures=[f"{n}.png" for n in range(count)],
        metrics=metrics,
        scores={column: {"m": values} for column, values in columns.items()},
    )


def test_the_summary_tells_gains_from_luck() -> None:
    base = [20.0, 21.0, 22.0, 23.0]

    def said(*ours: float) -> str:
        (text,) = summary.summary(Report({}, scored({"bicubic": base, "one": list(ours)})))
        return text

    assert "1.50 dB more than bicubic" in said(21.5, 22.5, 23.5, 24.5)
    assert "1.50 dB less than bicubic (95% interval 1.50 to 1.50)" in said(18.5, 19.5, 20.5, 21.5)
    assert "interval that holds 0" in said(21, 20, 23, 22)


def test_a_report_of_little_is_still_a_page(tmp_path: Path) -> None:
    plain = scored({"nearest": [19.0], "bicubic": [20.0], "lanczos": [math.inf]})
    said = page.write(Report({}, plain), tmp_path / "one").read_text()
    assert "\N{INFINITY}" in said
    assert Read(page.write(Report({}), tmp_path / "none").read_text()).all("img") == []


# --- cases --------------------------------------------------------------------------------------


def test_cases_are_chosen_by_gain() -> None:
    its = scored({"bicubic": [10, 20, 30, 40, 50], "one": [11, 25, 30.5, 39, 50]})
    chosen = cases.choose(its, "one")
    assert [(c.rank, c.index, c.value) for c in chosen] == [
        ("best", 1, 5),
        ("median", 2, 0.5),
        ("worst", 3, -1),
    ]
    assert chosen[0].scores == {"bicubic": {"m": 20}, "one": {"m": 25}}
    lower = scored({"bicubic": [10, 20, 30, 40, 50], "one": [11, 25, 30.5, 39, 50]}, up=False)
    assert [c.index for c in cases.choose(lower, "one")] == [3, 2, 1]


def test_cases_of_ties_infinities_and_few_pictures() -> None:
    its = scored({"bicubic": [math.inf, 20, 20], "one": [math.inf, 20, math.inf]})
    assert [(c.rank, c.index) for c in cases.choose(its, "one")] == [
        ("best", 2),
        ("median", 0),
        ("worst", 1),
    ]
    two = scored({"bicubic": [1, 2], "one": [3, 3]})
    assert [c.rank for c in cases.choose(two, "one")] == ["best", "worst"]
    (only,) = cases.choose(scored({"bicubic": [1]}), "bicubic")
    assert (only.rank, only.value) == ("only", 1)


def test_cases_are_what_the_bench_measured(
    shown: list[cases.Case], quality: Quality, photos: list[Path]
) -> None:
    assert [case.choice.rank for case in shown] == ["best", "median", "worst"]
    for case in shown:
        assert list(case.pictures) == ["bicubic", *MODELS, "HR"]
        assert case.lr.shape == (16, 16, 3)
        file = next(file for file in photos if file.name == case.choice.picture)
        hr = codec.to_uint8(Protocol.named("square").hr(file))[0].permute(1, 2, 0).numpy()
        assert np.array_equal(case.pictures["HR"], hr)
        error = (case.pictures["sharp"].astype(float) - hr) ** 2
        psnr = 20 * math.log10(255) - 10 * math.log10(error.mean())
        assert quality.scores["sharp"]["psnr"][case.choice.index] == pytest.approx(psnr, abs=1e-6)


def test_files_in_another_order_and_of_one_name_are_told_apart(
    compared: list[Column], photos: list[Path], tmp_path: Path
) -> None:
    files = []
    for n, photo in enumerate(photos[:3]):
        (tmp_path / str(n)).mkdir()
        files.append(Path(shutil.copy(photo, tmp_path / str(n) / "same.png")))
    protocol = Protocol.named("square")
    its = measure(compared, files, protocol)
    for case in cases.make(compared, files[::-1], protocol, cases.choose(its, "sharp")):
        error = case.pictures["sharp"].astype(float) - case.pictures["HR"]
        psnr = 20 * math.log10(255) - 10 * math.log10((error**2).mean())
        assert case.choice.scores["sharp"]["psnr"] == pytest.approx(psnr, abs=1e-6)


def test_the_detail_is_where_hr_has_most_that_lr_cant_hold() -> None:
    hr = np.full((64, 80, 3), 100, np.uint8)
    hr[:, :40] += np.arange(40, dtype=np.uint8)[:, None]  # a slope isn't detail
    hr[36:44:2, 60:68] = 200
    left, top, width, height = cases.detail(hr, 4)
    assert (width, height) == (24, 24)
    assert left <= 60
    assert left + width >= 68
    assert top <= 36
    assert top + height >= 44
    assert left % 4 == top % 4 == 0


@pytest.mark.parametrize("size", [(4, 4), (8, 20), (600, 404)])
def test_pictures_of_any_size_are_shown(size: tuple[int, int], quality: Quality) -> None:
    high, wide = size
    rng = np.random.default_rng(2)
    hr = rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)
    lr = np.ascontiguousarray(hr[::4, ::4])
    (choice,) = cases.choose(scored({"bicubic": [20.0]}), "bicubic")
    case = cases.Case(choice, lr, {"bicubic": hr, "HR": hr}, cases.detail(hr, 4))
    its = scored({"bicubic": [20.0]})
    tiles = pictures.tiles(case, its, ["m"])
    assert [tile.name for tile in tiles] == ["LR", "bicubic", "HR"]
    assert len({(t.whole.width, t.whole.height, t.detail.width) for t in tiles}) == 1
    assert max(tiles[0].whole.width, tiles[0].whole.height) <= pictures.LARGE
    left, top, across, down = case.detail
    part = decoded(tiles[2].detail.source)
    assert np.array_equal(part, hr[top : top + down, left : left + across])
    assert tiles[2].detail.width % across == 0
    assert tiles[1].scores == [("M", "20.00")]
    assert pictures.sheet([case], its, ["m"]).width > 3 * tiles[0].whole.width


def decoded(source: str) -> np.ndarray:
    head, data = source.split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


def test_the_page_holds_the_pixels_that_were_measured(read: Read, shown: list[cases.Case]) -> None:
    sources = [a["src"] or "" for a in read.all("img") if "case" in (a["alt"] or "")]
    wholes = iter(sources)
    for case in shown:
        left, top, across, down = case.detail
        for name, pixels in {"LR": case.lr, **case.pictures}.items():
            assert np.array_equal(decoded(next(wholes)), pixels)
            scale = 4 if name == "LR" else 1
            part = pixels[top // scale : (top + down) // scale]
            part = part[:, left // scale : (left + across) // scale]
            assert np.array_equal(decoded(next(wholes)), part)
    assert list(wholes) == []


def test_enlarged_pixels_are_never_smoothed(shown: list[cases.Case], quality: Quality) -> None:
    sheet = np.asarray(pictures.sheet(shown[:1], quality, ["psnr"]))
    top = pictures.MARGIN + 2 * pictures.LINE + pictures.GAP
    last = [*shown[0].pictures].index("HR") + 1
    left = pictures.MARGIN + last * (192 + pictures.GAP)
    hr = shown[0].pictures["HR"].repeat(3, 0).repeat(3, 1)
    seen = sheet[top : top + 192, left : left + 192]
    framed = (seen == pictures.FRAME).all(axis=-1)
    assert np.array_equal(seen[~framed], hr[~framed])
    assert 0 < framed.mean() < 0.05


# --- figures ------------------------------------------------------------------------------------


def test_training_logs_become_batches_an_hour(log: Path) -> None:
    # 50 batches in 5 s, 50 in 10 s; the validation between them counts for nothing.
    assert parts.pace(log) == (pytest.approx(100 / 15 * 3600), 100)


def test_a_log_without_speed_or_recipe_is_named(log: Path, tmp_path: Path) -> None:
    assert parts.training_section({}) is None
    shutil.copy(log, tmp_path / "log.jsonl")
    section = parts.training_section({"bare": tmp_path / "log.jsonl"})
    assert section is not None
    assert section.figures == []
    assert "bare is left out" in section.text[0]
    shutil.copy(log.with_name("recipe.toml"), tmp_path)
    (tmp_path / "log.jsonl").write_text('{"step": 1, "validation": {}}\n')
    section = parts.training_section({"bare": tmp_path / "log.jsonl"})
    assert section is not None
    assert "holds no speed yet" in section.text[0]


def test_drawings_leave_their_colours_to_the_page(read: Read, written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert drawings
    style = html[html.index("<style>") : html.index("</style>")]
    for drawing in drawings:
        assert re.findall(r"(?:fill|stroke): #", drawing) == []
        for name in re.findall(r"var\(--([a-z0-9-]+)\)", drawing):
            assert f"--{name}:" in style
    # Light and print: the colours of the PNG files.
    for colour, name in charts.VARIABLES.items():
        assert f"--{name}: {colour}" in style


def test_perception_is_plotted_against_distortion(quality: Quality) -> None:
    figure = page_figures(quality)["perception-distortion"]
    (ax,) = figure.picture.axes  # type: ignore[union-attr]
    points = {tuple(line.get_xydata()[0]) for line in ax.lines}
    assert points == {(quality.mean(c, "psnr"), quality.mean(c, "lsd")) for c in quality.scores}
    low, high = ax.get_xlim()
    assert low > high  # better to the left
    assert ax.get_ylim()[0] < ax.get_ylim()[1]
    assert "LSD" in figure.caption
    of_sets = dataclasses.replace(
        quality,
        sets={c: {"fid": 10.0 + n} for n, c in enumerate(quality.scores)},
        set_metrics={"fid": {"unit": "", "higher_is_better": False, "title": "FID"}},
    )
    assert "perception is FID" in page_figures(of_sets)["perception-distortion"].caption


def page_figures(quality: Quality) -> dict[str, Figure]:
    return {figure.name: figure for figure in parts.quality_section(quality).figures}


def test_names_of_figures_are_checked(tmp_path: Path) -> None:
    def section(*names: str) -> Section:
        picture = Image.new("RGB", (4, 4))
        return Section("S", figures=[Figure(name, picture, "c", "a") for name in names])

    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        page.write(Report({}), tmp_path, sections=[section("../up")])
    with pytest.raises(ValueError, match="two figures of one name"):
        page.write(Report({}), tmp_path, sections=[section("a", "a")])
    assert list(tmp_path.iterdir()) == []


# --- files --------------------------------------------------------------------------------------


def test_equal_reports_are_equal_files(
    quality: Quality, shown: list[cases.Case], tmp_path: Path
) -> None:
    first = page.write(Report({}, quality), tmp_path / "a", cases=shown)
    again = page.write(Report({}, quality), tmp_path / "b", cases=shown)
    assert again.read_bytes() == first.read_bytes()
    for file in (first.parent / "figures").iterdir():
        assert (again.parent / "figures" / file.name).read_bytes() == file.read_bytes()


def test_a_report_replaces_the_one_before_and_nothing_else(
    quality: Quality, tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_text("mine")
    page.write(Report({}, quality, distances()), tmp_path, sections=[extra()])
    for name in ("figures/distances.png", "figures/own-chart.png", "scores-identity.csv"):
        assert (tmp_path / name).is_file()
    page.write(Report({}, quality), tmp_path)
    left = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert left == {
        "index.html",
        "report.json",
        "scores.csv",
        "notes.txt",
        *(f"figures/{name}.png" for name in ("mine", "gains", "perception-distortion")),
    }
    assert (tmp_path / "figures" / "mine.png").read_bytes() == b"mine"


def test_a_strangers_page_names_no_figures_to_remove(quality: Quality, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").write_bytes(b"mine")
    (tmp_path / "index.html").write_text('<p data-file="figures/mine.png">')
    page.write(Report({}, quality), tmp_path)
    assert (tmp_path / "figures" / "mine.png").is_file()


def test_a_folder_that_cant_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write") as found:
        page.write(Report({}), tmp_path / "file" / "out")
    assert "\n" not in str(found.value)


# --- in a browser -------------------------------------------------------------------------------

DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"
# A window has a least width, a frame has none: the page is looked at in a frame.
FRAME = """<!DOCTYPE html><pre id="probe"></pre>
<script>addEventListener('message', e => document.getElementById('probe').textContent = e.data);
</script><iframe src="probe.html" style="border:0;width:{width}px;height:900px"></iframe>"""
PROBE = """<script>
console.log('the probe speaks');
const seen = c => { const d = document.createElement('canvas').getContext('2d');
  d.fillStyle = c; d.fillRect(0, 0, 1, 1); return [...d.getImageData(0, 0, 1, 1).data]; };
const curve = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const light = c => .2126 * curve(c[0]) + .7152 * curve(c[1]) + .0722 * curve(c[2]);
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = seen(getComputedStyle(e).backgroundColor);
    if (c[3] == 255) return c;
  }
  return [255, 255, 255, 255];
};
const low = [];
for (const e of document.querySelectorAll('body *')) {
  if (['SCRIPT', 'STYLE'].includes(e.tagName)) continue;
  if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
  const s = getComputedStyle(e), svg = e.namespaceURI.endsWith('svg');
  const a = light(seen(svg ? s.fill : s.color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) low.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
}
const asked = () => performance.getEntriesByType('resource').map(r => r.name);
addEventListener('load', () => parent.postMessage(JSON.stringify({
  images: [...document.images].map(i => [i.complete, i.naturalWidth]),
  requests: asked().filter(name => !name.startsWith('data:')),
  background: behind(document.body), low: low,
  width: innerWidth, scroll: document.documentElement.scrollWidth,
  texts: document.querySelectorAll('svg text').length,
}), '*'));
</script>"""

Browser = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(names)} is here: the page isn't checked in a browser")
    profile = tmp_path_factory.mktemp("profile")

    def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0"]
        command += [*options, page.as_uri()]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    return run


def probed(
    browser: Browser, written: Path, folder: Path, width: int, scheme: str
) -> dict[str, Any]:
    """Return what a script sees in a copy of the page, which must have no console but its own."""
    html = written.read_text(encoding="utf-8")
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    probe, frame = folder / "probe.html", folder / "frame.html"
    probe.write_text(html.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    done = browser(frame, "--dump-dom", "--virtual-time-budget=5000", scheme)
    spoken = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(spoken) == 1
    assert "the probe speaks" in spoken[0]
    text = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert text is not None
    seen: dict[str, Any] = json.loads(text[1].replace("&lt;", "<").replace("&amp;", "&"))
    return seen


@pytest.mark.parametrize(("width", "scheme"), [(1280, LIGHT), (400, DARK)])
def test_a_browser_shows_all_of_it(
    browser: Browser, written: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    seen = probed(browser, written, tmp_path, width, scheme)
    assert len(seen["images"]) == 3 * 2 * 5 + 2
    assert all(complete and wide > 0 for complete, wide in seen["images"])
    assert seen["requests"] == []
    assert seen["texts"] > 50
    assert seen["low"] == []
    assert seen["width"] == width
    assert seen["scroll"] <= width  # wide tables scroll in their own boxes
    if scheme == DARK:
        assert max(seen["background"][:3]) < 50
    else:
        assert seen["background"] == [255, 255, 255, 255]


def test_the_page_as_it_is_says_nothing_in_the_console(
    browser: Browser, written: Path, tmp_path: Path
) -> None:
    shot = tmp_path / "page.png"
    done = browser(written, "--window-size=1280,1200", DARK, f"--screenshot={shot}")
    assert "CONSOLE" not in done.stderr
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (1200, 1280, 3)
    assert pixels[0, 0].max() < 50
    assert pixels.max() > 200


def test_it_prints_in_light_colours_on_several_pages(
    browser: Browser, written: Path, tmp_path: Path
) -> None:
    file = tmp_path / "page.pdf"
    browser(written, "--no-pdf-header-footer", DARK, f"--print-to-pdf={file}")
    pdf = file.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4
    drawn = b""
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", pdf, flags=re.DOTALL):
        try:
            drawn += zlib.decompress(match[1])
        except zlib.error:  # pictures and fonts of other kinds
            continue
    ink, night = (29 / 255, 33 / 255, 39 / 255), (20 / 255, 23 / 255, 27 / 255)
    fills = {
        tuple(round(float(x), 2) for x in found)
        for found in re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) rg", drawn)
    }
    assert tuple(round(x, 2) for x in ink) in fills
    assert tuple(round(x, 2) for x in night) not in fills
