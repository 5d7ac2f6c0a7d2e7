"""The report's page: what it says, that it holds everything, and how it looks in a browser."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reports
import torch
from PIL import Image
from srkit_report import charts, images, page
from srkit_report.examples import Example, choose, examples
from torch import Tensor

from srkit import InputError, registry
from srkit.evaluation.measure import Pixels, measure, rendered
from srkit.evaluation.methods import Method, methods
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Quality, Report
from srkit.imaging import codec

EVIL = "<script>alert('x')</script> & $\\frac$ \"q\""
MODELS = ("sharp", EVIL)
SHOWN = ["LR", "bicubic", *MODELS, "HR"]
VOID = {"meta", "link", "img", "br"}
MINUS = "\N{MINUS SIGN}"


# --- what is shown ------------------------------------------------------------------------------


def between(lr: Tensor, share: float) -> Tensor:
    """Bicubic and nearest neighbour, mixed."""
    cubic = registry.build("generators", "bicubic", scale=4)(lr)
    blocks = torch.nn.functional.interpolate(lr, scale_factor=4, mode="nearest")
    return (1 - share) * cubic + share * blocks


@pytest.fixture(scope="module")
def compared() -> list[Method]:
    made = [
        Method(name, partial(between, share=share), str(n) * 64, "Apache-2.0")
        for n, (name, share) in enumerate(zip(MODELS, (0.3, 0.6), strict=True))
    ]
    return methods(made, Protocol())


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
def quality(compared: list[Method], photos: list[Path]) -> Quality:
    return measure(compared, photos, Protocol.named("square"))


def with_fid(measured: Quality) -> Quality:
    sets = {method: {"fid": 10.0 + n} for n, method in enumerate(measured.scores)}
    about = {"fid": {"unit": "", "higher_is_better": False, "title": "FID"}}
    return replace(measured, set_scores=sets, set_metrics=about)


Render = Callable[[int], dict[str, Pixels]]


@pytest.fixture(scope="module")
def render(compared: list[Method], photos: list[Path], quality: Quality) -> Render:
    return partial(rendered, quality, compared, photos, Protocol.named("square"))


@pytest.fixture(scope="module")
def shown(quality: Quality, render: Render) -> list[Example]:
    return list(examples(quality, render))


@pytest.fixture(scope="module")
def report(quality: Quality, render: Render) -> Report:
    models = dict.fromkeys(MODELS, 0.9)
    return Report(
        {name: {"sha256": "ab" * 32, "licence": "CC0 <b>"} for name in MODELS},
        with_fid(quality),
        replace(reports.distances(models), no_face=["07/<i>.jpg"]),
        reports.distances(models, people=6),
        reports.pairs(dict.fromkeys(models, 0.8)),
        ["sharp was trained to please its judge"],
        {"command": f"srkit bench '{EVIL}'", "seconds": 75.0, "machine": {"cores": 2}},
        render,
    )


@pytest.fixture(scope="module")
def written(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "deep"
    report.publish(folder)
    return folder / "index.html"


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

    def content(self) -> str:
        return " ".join(text for inside, text in self.texts if "style" not in inside)


@pytest.fixture(scope="module")
def read(written: Path) -> Read:
    return Read(written.read_text(encoding="utf-8"))


# --- the page -----------------------------------------------------------------------------------


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_the_folder_holds_page_charts_json_and_scores(written: Path, report: Report) -> None:
    assert files(written.parent) == {
        *("index.html", "report.md", "report.json", "scores.csv", "scores-identity.csv"),
        *(f"figures/{name}.png" for name in (*charts.NAMES, charts.SHEET)),
    }
    for file in (written.parent / "figures").iterdir():
        with Image.open(file) as image:
            assert (image.format, min(image.size) > 1) == ("PNG", True)
    assert Report.read(written.parent).as_json() == report.as_json()


def test_what_was_measured_comes_first_then_the_table_and_images(written: Path, read: Read) -> None:
    content = read.content()
    places = [
        "beside interpolation on 6 images, x4, by the protocol square",
        *("Quality, mean of 6 images", "Chosen by number", "Gain over bicubic", "Table II"),
        *("Verification, facenet", "fingerprint", "CC0 <b>", "75 s"),
    ]
    assert [content.index(text) for text in places] == sorted(map(content.index, places))


def test_nothing_is_asked_from_anywhere_else(written: Path, read: Read) -> None:
    html = written.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", html)
    assert read.all("script") == []
    for _, attributes in read.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert not any(name.startswith("on") for name in attributes)


def test_names_of_files_and_models_are_text(written: Path, read: Read) -> None:
    html = written.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    for text in (EVIL, "<b>&.png", "07/<i>.jpg", "CC0 <b>", f"srkit bench '{EVIL}'"):
        assert text in read.content()


def test_it_is_accessible(read: Read) -> None:
    ids = [a["id"] for _, a in read.elements if a.get("id")]
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    assert all((link["href"] or "")[1:] in ids for link in read.all("a"))
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("h1")) == 1
    assert all(a.get("scope") in ("row", "col") for a in read.all("th"))
    assert all(len(a.get("alt") or "") > 5 for a in read.all("img"))


def test_every_number_and_every_field_of_every_protocol_is_there(
    read: Read, report: Report
) -> None:
    content = read.content()
    for table in report.tables():
        assert table.title in content
        for labels, values in table.rows:
            assert all(label in content for label in labels)
            assert all(page.number(value) in content for value in values)
            assert all(page.number(value.interval) in content for value in values)
        assert all(note in content for note in table.notes)
    for part in (report.quality, report.distances, report.everybody, report.pairs):
        assert part is not None
        for key, value in page.fields(part.protocol):
            assert key in content
            assert value in content
    for text in ("sharp was trained to please its judge", "machine.cores", "ab" * 32):
        assert text in content


def test_bold_is_who_is_best(written: Path, report: Report) -> None:
    best = [v for table in report.tables() for _, values in table.rows for v in values if v.best]
    html = written.read_text(encoding="utf-8")
    result = re.findall(r"<td class=\"n\"><strong>(.*?)</strong>", html)
    assert Counter(result) == Counter(map(page.number, best))


@pytest.mark.parametrize(
    ("gains", "start"),
    [
        ({"old": 1.0, "better": 2.0}, "Quality, by PSNR, dB: better is better than every other"),
        ({"old": 1.0, "b": 1.0}, "Quality, by PSNR, dB: no method is better than all others"),
    ],
)
def test_findings_tell_gains_from_luck(gains: dict[str, float], start: str) -> None:
    (text,) = findings(measured := reports.report(gains))
    assert text.startswith(start)
    assert measured.quality is not None
    if "better" in gains:
        mean = measured.quality.mean("better", "psnr")
        lead, low, high = measured.quality.gain("better", "psnr", "old")
        shown = f"({mean:.2f}; {lead:+.2f} [{low:+.2f}, {high:+.2f}] over old, the next)."
        assert text.endswith(shown)


def findings(report: Report) -> list[str]:
    return list(page.findings(report, {table.name: table for table in report.tables()}))


def test_no_headline_rests_on_lsd(shown: list[Example], quality: Quality) -> None:
    def only(*metrics: str) -> Quality:
        about = {name: quality.metrics[name] for name in metrics}
        return replace(quality, metrics=about)

    (text,) = findings(Report({}, only("lsd", "ssim")))
    assert text.startswith("Quality, by SSIM:")
    assert findings(Report({}, only("lsd"))) == []
    assert charts.tradeoff(quality) is None
    assert [one.metric for one in examples(only("lsd", "psnr"), lambda n: shown[0].images)] == [
        "psnr"
    ] * 3


def scored(methods: dict[str, list[float]], *, up: bool = True) -> Quality:
    count = len(methods["bicubic"])
    return Quality(
        protocol={"name": "plain", "fingerprint": "0"},
        images=[f"{n}.png" for n in range(count)],
        metrics={"m": {"unit": "dB", "higher_is_better": up, "title": "M"}},
        scores={method: {"m": values} for method, values in methods.items()},
    )


def test_a_report_of_little_is_still_a_page(tmp_path: Path) -> None:
    plain = scored({"nearest": [19.0], "bicubic": [20.0], "lanczos": [math.inf]})
    Report({}, plain).publish(tmp_path / "one")
    assert "inf" in (tmp_path / "one" / "index.html").read_text()
    Report({}).publish(tmp_path / "none")
    assert Read((tmp_path / "none" / "index.html").read_text()).all("img") == []


# --- examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bicubic", "ours", "up", "chosen"),
    [
        ([10, 20, 30, 40, 50], [11, 25, 30.5, 39, 50], True, [(1, 5), (2, 0.5), (3, -1)]),
        ([10, 20, 30, 40, 50], [11, 25, 30.5, 39, 50], False, [(3, -1), (2, 0.5), (1, 5)]),
        ([math.inf, 20, 20], [math.inf, 20, math.inf], True, [(2, math.inf), (0, 0), (1, 0)]),
        ([1, 2], [3, 3], True, [(0, 2), (1, 1)]),
        ([1], [2], True, [(0, 1)]),
        ([1, math.nan, 2], [2, math.nan, 4], True, [(2, 2), (0, 1)]),
        ([math.nan], [1], True, []),
    ],
)
def test_examples_are_chosen_by_gain(
    bicubic: list[float], ours: list[float], up: bool, chosen: Sequence[tuple[int, float]]
) -> None:
    result = choose(scored({"bicubic": bicubic, "one": ours}, up=up), "one", "m")
    assert [(index, gain) for _, index, gain in result] == list(chosen)
    ranks = {0: [], 1: ["only"], 2: ["best", "worst"], 3: ["best", "median", "worst"]}
    assert [rank for rank, _, _ in result] == ranks[len(result)]


def test_examples_are_what_the_bench_measured(
    shown: list[Example], quality: Quality, photos: list[Path]
) -> None:
    assert [one.rank for one in shown] == ["best", "median", "worst"]
    for one in shown:
        assert list(one.images) == SHOWN
        assert one.images["LR"].shape == (16, 16, 3)
        file = next(file for file in photos if file.name == quality.images[one.index])
        hr = codec.to_uint8(Protocol.named("square").hr(file))[0].permute(1, 2, 0).numpy()
        assert np.array_equal(one.images["HR"], hr)
        assert quality.scores["sharp"]["psnr"][one.index] == pytest.approx(psnr(one), abs=1e-6)


def psnr(one: Example) -> float:
    error = (one.images["sharp"].astype(float) - one.images["HR"]) ** 2
    return 20 * math.log10(255) - 10 * math.log10(error.mean())


def test_files_in_another_order_and_of_one_name_are_told_apart(
    compared: list[Method], photos: list[Path], tmp_path: Path
) -> None:
    same = []
    for n, photo in enumerate(photos[:3]):
        (tmp_path / str(n)).mkdir()
        same.append(Path(shutil.copy(photo, tmp_path / str(n) / "same.png")))
    protocol = Protocol.named("square")
    measured = measure(compared, same, protocol)
    render = partial(rendered, measured, compared, same[::-1], protocol)
    for one in examples(measured, render):
        assert measured.scores["sharp"]["psnr"][one.index] == pytest.approx(psnr(one), abs=1e-6)


def test_the_detail_is_where_hr_has_most_that_lr_cant_hold() -> None:
    hr = np.full((64, 80, 3), 100, np.uint8)
    hr[:, :40] += np.arange(40, dtype=np.uint8)[:, None]  # a slope isn't detail
    hr[36:44:2, 60:68] = 200
    left, top, width, height = images.detail(hr, 4)
    assert (width, height) == (24, 24)
    assert left <= 60
    assert left + width >= 68
    assert top <= 36
    assert top + height >= 44
    assert left % 4 == top % 4 == 0


@pytest.mark.parametrize("size", [(4, 4), (8, 20), (600, 404)])
def test_images_of_any_size_are_shown(size: tuple[int, int]) -> None:
    high, wide = size
    hr = np.random.default_rng(2).integers(0, 256, (high, wide, 3), dtype=np.uint8)
    lr = np.ascontiguousarray(hr[::4, ::4])
    measured = scored({"bicubic": [20.0], "one": [21.0]})
    methods = {"LR": lr, "bicubic": hr, "one": hr, "HR": hr}
    result = images.shown(Example("only", 0, "one", "m", 1.0, methods), measured)
    assert [tile.name for tile in result.tiles] == list(methods)
    assert [tile.ranked for tile in result.tiles] == [False, False, True, False]
    assert max(result.size) <= images.LARGE
    left, top, across, down = images.detail(hr, 4)
    assert np.array_equal(
        decoded(result.tiles[3].detail), hr[top : top + down, left : left + across]
    )
    assert result.zoomed[0] % across == 0
    assert result.tiles[1].scores == [("M", "20.00")]
    assert result.reason == "one gains +1.00 dB M over bicubic"


def decoded(source: str) -> np.ndarray:
    head, data = source.split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image)


def test_the_page_holds_the_pixels_that_were_measured(read: Read, shown: list[Example]) -> None:
    sources = iter([a["src"] or "" for a in read.all("img") if "pixels" in (a["class"] or "")])
    for one in shown:
        left, top, across, down = images.detail(one.images["HR"], 4)
        for name, pixels in one.images.items():
            assert np.array_equal(decoded(next(sources)), pixels)
            scale = 4 if name == "LR" else 1
            part = pixels[top // scale : (top + down) // scale]
            part = part[:, left // scale : (left + across) // scale]
            assert np.array_equal(decoded(next(sources)), part)
    assert list(sources) == []


# --- charts and files ---------------------------------------------------------------------------


def test_the_first_perceptual_metric_is_plotted_against_distortion(quality: Quality) -> None:
    def caption(measured: Quality) -> str:
        result = charts.tradeoff(measured)
        assert result is not None
        return result.caption

    assert caption(with_fid(quality)).startswith("Perception (FID,")
    assert charts.tradeoff(reports.quality({"a": 1.0})) is not None
    assert charts.tradeoff(scored({"bicubic": [1.0]})) is None


@pytest.mark.parametrize(("score", "drawn"), [(22.0, True), (math.inf, False)])
def test_what_has_no_interval_isnt_drawn(score: float, drawn: bool) -> None:
    report = Report({}, scored({"bicubic": [20.0, 21.0, 22.0], "one": [math.inf, score, 23.0]}))
    gains = {table.name: table for table in report.tables()}["gains"]
    assert (charts.intervals(gains, "gains", "") is not None) == drawn


def test_equal_reports_are_equal_files_and_matplotlib_is_left_alone(
    report: Report, tmp_path: Path
) -> None:
    import matplotlib

    report = replace(report, distances=None, everybody=None, pairs=None)
    before = dict(matplotlib.rcParams)
    report.publish(tmp_path / "a")
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.family": "serif", "savefig.dpi": 33, "axes.grid": False}):
        report.publish(tmp_path / "b")
    for name in files(tmp_path / "a"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_a_report_replaces_the_one_before_and_nothing_else(
    report: Report, quality: Quality, tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    mine = ("figures/mine.png", "notes.txt")
    for name in mine:
        (tmp_path / name).write_bytes(b"mine")
    Report({}, quality).publish(tmp_path)
    assert all((tmp_path / name).read_bytes() == b"mine" for name in mine)
    Report({}, distances=report.distances).publish(tmp_path)
    assert "figures/distances.png" in files(tmp_path)
    assert "scores-identity.csv" in files(tmp_path)
    Report({}, quality).publish(tmp_path)
    assert files(tmp_path) == {
        *("index.html", "report.md", "report.json", "scores.csv", "notes.txt"),
        *(f"figures/{name}.png" for name in ("mine", "gains")),
    }


def test_a_folder_that_cant_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write") as result:
        Report({}).publish(tmp_path / "file" / "out")
    assert "\n" not in str(result.value)


STRANGER = """
import srkit

def plain(report, folder):
    "A line a table."
    (folder / "plain.txt").write_text("\\n".join(t.title for t in report.tables()))

def broken(report, folder):
    "Doesn't work."
    raise KeyError("gone")

@srkit.hookimpl
def srkit_reports():
    return {"plain": plain, "a-broken": broken}
"""


def test_a_strangers_report_is_written_and_a_broken_one_is_named(
    fake_distribution: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_distribution("srkit-plain", {"plain_report": STRANGER})
    reports.report({"one": 1.0}).publish(tmp_path)
    assert "Quality, mean of 30 images" in (tmp_path / "plain.txt").read_text()
    assert (tmp_path / "index.html").is_file()
    (line,) = capsys.readouterr().err.splitlines()
    assert "srkit-plain" in line
    assert "report 'a-broken' of " in line
    assert "fails: KeyError: 'gone'" in line


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
  const s = getComputedStyle(e);
  const a = light(seen(s.color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) low.push(e.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
}
const asked = () => performance.getEntriesByType('resource').map(r => r.name);
addEventListener('load', () => parent.postMessage(JSON.stringify({
  images: [...document.images].map(i => [i.complete, i.naturalWidth]),
  requests: asked().filter(name => !name.startsWith('data:')),
  background: behind(document.body), low: low,
  width: innerWidth, scroll: document.documentElement.scrollWidth,
}), '*'));
</script>"""

Browser = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome")
    result = next(filter(None, map(shutil.which, names)), None)
    if result is None:
        pytest.skip(f"none of {', '.join(names)} is here: the page isn't checked in a browser")
    profile = tmp_path_factory.mktemp("profile")

    def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [result, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0"]
        # Without these it looks for its maker's servers first, and waits for them.
        command += ["--disable-background-networking", "--disable-component-update"]
        command += ["--disable-sync", "--disable-quic", "--no-first-run"]
        command += [*options, page.as_uri()]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=180)

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
    assert len(seen["images"]) == 3 * 2 * len(SHOWN) + len(charts.NAMES)
    assert all(complete and wide > 0 for complete, wide in seen["images"])
    assert seen["requests"] == []
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
        except zlib.error:  # images and fonts of other kinds
            continue
    ink, night = (29 / 255, 33 / 255, 39 / 255), (20 / 255, 23 / 255, 27 / 255)
    fills = {
        tuple(round(float(x), 2) for x in result)
        for result in re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) rg", drawn)
    }
    assert tuple(round(x, 2) for x in ink) in fills
    assert tuple(round(x, 2) for x in night) not in fills
