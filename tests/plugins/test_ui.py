"""`srkit ui` as people use it: by a browser; and as they shouldn't: by other pages and paths."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import skimage.data
from PIL import Image
from PIL.ExifTags import Base
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)
from srkit_ui.store import PREFIX, Limits, RefusedError, Store, plain

Cli = Callable[..., tuple[int, str, str]]
expect.set_options(timeout=90_000)  # of a machine that does much else

# What the server connects to, sends to, or looks up elsewhere is written down, and fails.
ALONE = """
import os, sys
HERE = (None, "127.0.0.1", "::1", "localhost")
def alone(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else it is a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host not in HERE:
        with open(os.environ["SRKIT_TEST_LOG"], "a") as log:
            log.write(f"{event} {host}\\n")
        raise OSError("a connection to elsewhere")
sys.addaudithook(alone)
"""


class Server:
    """A server in a process of its own, in a folder with nothing in it."""

    def __init__(self, folder: Path, *arguments: str, code: str = "", **environment: str) -> None:
        (folder / "alone").mkdir(parents=True, exist_ok=True)
        (folder / "alone" / "sitecustomize.py").write_text(ALONE)
        self.log, self.temporary = folder / "connections.txt", folder / "tmp"
        self.log.touch()
        self.temporary.mkdir(exist_ok=True)
        command = ["-c", textwrap.dedent(code)] if code else ["-m", "srkit", "ui"]
        with (folder / "stderr.txt").open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, *command, *arguments],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(folder / "alone"),
                    "SRKIT_TEST_LOG": str(self.log),
                    "TMPDIR": str(self.temporary),
                    **environment,
                },
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.search(r"http://(\S+:\d+)", line)
        assert match, line + (folder / "stderr.txt").read_text()
        self.url, self.stderr = f"http://{match[1]}", folder / "stderr.txt"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()  # type: ignore[union-attr]
        assert self.log.read_text() == ""  # no connection to elsewhere
        assert self.stderr.read_text() == ""

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)


def begun(folder: Path) -> Path:
    """Write a run that has just begun."""
    run = folder / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "recipe.toml").write_text('name = "faces-tiny"\nsteps = 400\nbatch_size = 8\n')
    (run / "log.jsonl").write_text('{"step": 0}\n')
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a server runs: with a run that trains and a report."""
    folder = tmp_path_factory.mktemp("ui")
    run = begun(folder)
    records = [
        *(
            {"step": s, "losses": {"l1": 1 / s}, "learning_rate": 1e-4, "images_per_second": 40.0}
            for s in range(10, 110, 10)
        ),
        {"step": 100, "validation": {"psnr": 25.5, "bicubic_psnr": 24.0}},
    ]
    with (run / "log.jsonl").open("a") as log:
        log.writelines(f"{json.dumps(record)}\n" for record in records)
    Image.new("RGB", (64, 16), "teal").save(run / "grid-00000100.png")
    report = folder / "out"
    report.mkdir()
    (report / "report.json").write_text("{}")
    (report / "index.html").write_text("<h1>A report</h1><script>parent.broken = true</script>")
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[Server]:
    with Server(place, "--port", "0", "--max-size", "1", "--max-pixels", "8") as running:
        yield running
    assert running.process.returncode == 0
    assert not list(running.temporary.glob(f"{PREFIX}*"))  # clients' files are gone


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        assert not os.environ.get("SRKIT_CI"), "no Chromium: apt-get install chromium"
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A browser's window, which keeps the page's scripts from test to test, as a user's does."""
    opened = browser.new_context(viewport={"width": 1280, "height": 1400})
    yield opened
    opened.close()


@pytest.fixture
def context(window: BrowserContext) -> Iterator[BrowserContext]:
    """The window; what it asks of other servers fails the test, and so does a script's error."""
    asked: list[str] = []
    errors: list[str] = []

    def ask(request: Request) -> None:
        asked.append(request.url)

    def fail(error: WebError) -> None:
        errors.append(str(error.error))

    window.on("request", ask)
    window.on("weberror", fail)
    yield window
    for page in window.pages:
        page.close()
    window.remove_listener("request", ask)
    window.remove_listener("weberror", fail)
    assert asked
    assert all(re.match(r"(http://127\.0\.0\.1:\d+/|blob:|data:)", url) for url in asked), asked
    assert not errors


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Page:
    return opened(context, server)


def opened(context: BrowserContext, server: Server, path: str = "/") -> Page:
    (page,) = all_opened([context], server, path)
    return page


def all_opened(windows: list[BrowserContext], server: Server, path: str = "/") -> list[Page]:
    """Open the page in each window, all at once."""
    pages = [window.new_page() for window in windows]
    for page in pages:
        page.set_default_timeout(90_000)
        page.goto(server.url + path, wait_until="commit")
    for page in pages:
        expect(page.get_by_role("button", name="astronaut face").first).to_be_visible()
    return pages


def face(file: Path, side: int = 128, **options: Any) -> Path:
    """Write the astronaut's face."""
    photo = Image.fromarray(skimage.data.astronaut()).crop((133, 16, 303, 186))
    photo.resize((side, side), Image.Resampling.BICUBIC).save(file, **options)
    return file


def choose(page: Page, *files: Path) -> None:
    page.locator("[data-srkit=upscale] [data-files]").set_input_files([str(f) for f in files])


DROP = """([target, name, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name));
    const kind = target === "document" ? "paste" : "drop";
    const event = kind === "drop" ? new DragEvent(kind, {dataTransfer: data, bubbles: true})
        : new ClipboardEvent(kind, {clipboardData: data, bubbles: true});
    (target === "document" ? document : document.querySelector(target)).dispatchEvent(event);
}"""


def crowded() -> float:
    """How many times as long as alone a computation takes here, since others compute too."""
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() < cpu + 0.3:
        pass
    return max(1.0, (time.monotonic() - wall) / 0.3)


def downloaded(page: Page, name: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=f"Download {name} ").click()
    assert download.value.suggested_filename == name
    return Path(download.value.path()).read_bytes()


def written(cli: Cli, file: Path, out: Path, *options: object) -> bytes:
    """What the command line writes."""
    assert cli("upscale", file, "-o", out, *options)[0] == 0
    (result,) = (f for f in out.iterdir() if f.is_file())
    return result.read_bytes()


# --- upscale ------------------------------------------------------------------------------------


def test_a_dropped_face_is_there_in_seconds_and_is_what_the_command_writes(
    page: Page, cli: Cli, tmp_path: Path
) -> None:
    times = []
    for number in range(3):
        file = face(tmp_path / f"face {number} ü.png", 128 - number)
        start = time.monotonic()
        page.evaluate(DROP, ["[data-srkit=upscale] [data-drop]", file.name, [*file.read_bytes()]])
        expect(page.get_by_role("link", name=f"Download face {number} ü-x4.png ")).to_be_visible()
        times.append(time.monotonic() - start)
        if number == 0:
            expect(page.get_by_alt_text("After: result of srkit")).to_be_visible()
    assert min(times) < 3 * crowded(), times
    name = "face 0 ü-x4.png"
    assert downloaded(page, name) == written(cli, tmp_path / "face 0 ü.png", tmp_path / "out")
    expect(page.get_by_text("result of srkit, a guess, not evidence")).to_be_visible()


def test_the_slider_moves_by_keys_and_mouse_at_any_zoom(page: Page) -> None:
    page.get_by_role("button", name="astronaut face").first.click()
    slider = page.get_by_label("Edge between before and after").first
    after = page.get_by_alt_text("After: result of srkit")
    expect(after).to_be_visible()

    def cut() -> float:
        return float(re.findall(r"([\d.]+)%", after.evaluate("e => e.style.clipPath"))[0])

    before = cut()
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert cut() > before
    page.get_by_role("button", name="Eight pixels to one").first.click()
    expect(page.get_by_label("Zoom", exact=True).first).to_have_text("800%")
    width = page.evaluate("devicePixelRatio") * after.evaluate("e => e.clientWidth")
    assert width == 8 * 192
    assert after.evaluate("e => getComputedStyle(e).imageRendering") == "pixelated"
    before = cut()
    edge, stage = (page.locator(name).first.bounding_box() for name in (".edge", ".stage"))
    assert edge
    assert stage
    x, y = edge["x"] + edge["width"] / 2, stage["y"] + 50
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y, steps=4)
    page.mouse.up()
    assert cut() < before - 5
    page.get_by_role("group", name="Before and after").first.focus()
    page.keyboard.press("-")
    expect(page.get_by_label("Zoom", exact=True).first).to_have_text("400%")
    for side in ("nearest", "Lanczos"):
        page.get_by_label("Before", exact=True).first.select_option(label=side)
        shown = page.get_by_alt_text(f"Before: {side}")
        expect(shown).to_be_visible()
        assert shown.evaluate("async e => { await e.decode(); return e.naturalWidth }") > 0


def test_metadata_format_and_zip_are_the_commands(page: Page, cli: Cli, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[Base.Artist], exif[Base.Orientation] = "Someone", 6
    (tmp_path / "in").mkdir()
    files = [
        face(tmp_path / "in" / "a.jpg", 24, exif=exif, dpi=(300, 300), comment="kept"),
        face(tmp_path / "in" / "b.webp", 20),
        face(tmp_path / "in" / "c.tif", 28),
    ]
    choose(page, *files)
    expect(page.get_by_text("3 of 3 done.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all (zip)").click()
    archive = zipfile.ZipFile(Path(download.value.path()))
    wanted = {f"{f.stem}-x4{f.suffix}": written(cli, f, tmp_path / f.stem) for f in files}
    assert {name: archive.read(name) for name in archive.namelist()} == wanted
    page.get_by_label("Format").select_option("webp")
    page.locator("[data-scale]").first.fill("3")
    page.get_by_role("button", name="Upscale again").click()
    expect(page.get_by_role("link", name="Download a-x3.webp ")).to_be_visible()
    other = written(cli, files[0], tmp_path / "other", "--format", "webp", "--scale", 3)
    assert downloaded(page, "a-x3.webp") == other


def test_faces_are_outlined_and_can_be_left_out(page: Page, cli: Cli, tmp_path: Path) -> None:
    page.get_by_label("Find faces and restore them").check()
    file = tmp_path / "photo.png"
    Image.fromarray(skimage.data.astronaut()).resize((160, 160)).save(file)
    page.evaluate(DROP, ["document", file.name, [*file.read_bytes()]])
    outline = page.locator("button.face")
    expect(outline).to_have_attribute("aria-pressed", "true")
    whole = downloaded(page, "photo-x4.png")
    assert whole == written(cli, file, tmp_path / "out", "--faces")
    page.get_by_role("checkbox", name=re.compile("face 1, .* pixels")).click()
    expect(outline).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_text("result of srkit, a guess, not evidence")).to_be_hidden()
    general = written(cli, file, tmp_path / "general", "--model", "lanczos")
    left_out = downloaded(page, "photo-x4.png")
    images = [Image.open(io.BytesIO(each)).tobytes() for each in (left_out, general, whole)]
    assert images[0] == images[1] != images[2]
    outline.click()
    expect(outline).to_have_attribute("aria-pressed", "true")
    assert downloaded(page, "photo-x4.png") == whole


def test_what_cannot_be_done_is_said_in_a_sentence(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    whole = face(tmp_path / "whole.png", 64).read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "heavy.png").write_bytes(bytes(1_100_000))
    Image.new("RGB", (1000, 1000)).save(tmp_path / "wide.png")
    choose(page, *(tmp_path / f"{name}.png" for name in ("text", "torn", "heavy", "wide", "whole")))
    for sentence in (
        "text.png: not a readable image (of no known format)",
        "torn.png: not a readable image (",
        "heavy.png: 1.1 MB are too many; the limit is 1 MB.",
        "wide.png: the result would have 4000x4000 pixels, and the limit is 8 million; choose a",
    ):
        expect(page.get_by_text(sentence)).to_be_visible()
    expect(page.get_by_role("link", name="Download whole-x4.png ")).to_be_visible()
    expect(page.get_by_text("1 of 5 done, 4 failed.")).to_be_visible()


def test_work_is_cancelled_and_the_next_done(page: Page, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.astronaut()).resize((700, 700)).save(tmp_path / "large.jpg")
    small = face(tmp_path / "small.png", 16)
    choose(page, tmp_path / "large.jpg", tmp_path / "large.jpg")
    expect(page.get_by_label("Progress of large.jpg")).to_have_attribute("value", re.compile("0.1"))
    start = time.monotonic()
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.locator(".items").get_by_text("cancelled")).to_have_count(2)
    choose(page, small)
    expect(page.get_by_role("link", name="Download small-x4.png ")).to_be_visible()
    assert time.monotonic() - start < 10 * crowded()  # of one tile's rest, not of all


@pytest.mark.parametrize("count", [4, pytest.param(10, marks=pytest.mark.long)])
def test_browsers_at_once_each_get_their_own(
    browser: Browser, server: Server, cli: Cli, tmp_path: Path, count: int
) -> None:
    windows = [browser.new_context() for _ in range(count)]
    pages = all_opened(windows, server)
    files = [face(tmp_path / f"face-{n}.png", 16 + n) for n in range(count)]
    for page, file in zip(pages, files, strict=True):
        choose(page, file)
    for n, (page, file) in enumerate(zip(pages, files, strict=True)):
        wanted = written(cli, file, tmp_path / f"out{n}")
        assert downloaded(page, f"face-{n}-x4.png") == wanted
    for window in windows:
        window.close()


# What a page is mounted in, at an address given as the server's only word.
APPLICATION = """
    import fastapi, socket, srkit_ui, sys, uvicorn
    app = fastapi.FastAPI()
    app.mount("/faces", srkit_ui.build())
    bound = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print(f"http://127.0.0.1:{bound.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[bound])
"""


def test_it_mounts_in_an_application_of_ones_own_which_loses_nothing_when_it_is_killed(
    context: BrowserContext, cli: Cli, tmp_path: Path
) -> None:
    files = [face(tmp_path / f"{n}.png", 24) for n in "ab"]
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(Server(tmp_path / "server", "0", code=APPLICATION))
        page = opened(context, first, "/faces/")
        choose(page, files[0])
        expect(page.get_by_role("link", name="Download a-x4.png ")).to_be_visible()
        page.get_by_role("tab", name="Train").click()
        expect(page.get_by_text("No run yet.")).to_be_visible()
        first.process.kill()
        assert list(first.temporary.glob(f"{PREFIX}*"))
        choose(page, files[1])
        expect(page.get_by_text("The server doesn't answer.")).to_be_visible()
        port = first.url.rpartition(":")[2]
        begun(tmp_path / "server")
        servers.enter_context(Server(tmp_path / "server", port, code=APPLICATION))
        expect(page.get_by_text("step 0 of 400; no speed measured yet")).to_be_visible()
        expect(page.get_by_text("The server doesn't answer.")).to_be_hidden()
        page.get_by_role("tab", name="Upscale").click()
        expect(page.get_by_text("2 of 2 done.")).to_be_visible()
        for file in files:
            wanted = written(cli, file, tmp_path / f"out-{file.stem}")
            assert downloaded(page, f"{file.stem}-x4.png") == wanted
        assert len(list(first.temporary.glob(f"{PREFIX}*"))) == 1  # the killed one's is deleted


# --- the other tabs -----------------------------------------------------------------------------


def test_models_are_compared_with_a_reference(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Compare").click()
    lr, hr = face(tmp_path / "lr.png", 32), face(tmp_path / "hr.png", 128)
    page.locator("[data-files=image]").set_input_files(str(lr))
    page.locator("[data-files=reference]").set_input_files(str(hr))
    page.get_by_role("checkbox", name="bicubic (x4)").check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Done.")).to_be_visible()
    rows = [row.split("\t") for row in page.locator("[data-rows] tr").all_inner_texts()]
    scores = {row[0]: [float(value) for value in row[3:6]] for row in rows}
    assert list(scores) == ["bicubic", "faces", "lanczos"]
    from srkit import load, registry
    from srkit.imaging import codec

    sr = load("faces").upscale(Image.open(lr))
    a, b = codec.to_tensor(sr), codec.to_tensor(Image.open(hr))
    wanted = [float(registry.build("metrics", name)(a, b)[0]) for name in ("psnr", "ssim")]
    assert scores["faces"][:2] == pytest.approx(wanted, abs=0.006)
    assert scores["faces"][0] > scores["lanczos"][0]
    assert 0 < scores["faces"][2] < scores["bicubic"][2] < 2  # identity
    best = page.locator("[data-rows] td.best").all_inner_texts()
    assert [float(value) for value in best] == scores["faces"]
    expect(page.get_by_alt_text("After: model faces")).to_be_visible()
    expect(page.get_by_text("model faces, a guess, not evidence")).to_be_visible()
    page.locator("[data-files=reference]").set_input_files(str(lr))
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("the reference has 32x32 pixels, the result 128x128")).to_be_visible()


def test_runs_reports_and_plugins_are_shown_and_arrows_go_through_the_tabs(
    page: Page, place: Path
) -> None:
    def tab(name: str) -> Locator:
        return page.get_by_role("tab", name=name, exact=True)

    (place / "runs" / "mine" / "log.jsonl").touch()  # or it seems to have ended
    tab("Train").click()
    expect(page.get_by_text("step 100 of 400; about 0:01:00 left at 40.0")).to_be_visible()
    expect(page.get_by_text("Validation, PSNR: ━ this run 25.5 ┅ bicubic 24")).to_be_visible()
    grid = page.get_by_alt_text("Image grid of step 100")
    assert grid.evaluate("async e => { await e.decode(); return e.naturalWidth }") == 64
    with (place / "runs" / "mine" / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 200, "losses": {"l1": 0.1}, "images_per_second": 40.0}))
        log.write('\n{"step": 210, "los')
    expect(page.get_by_text("step 200 of 400")).to_be_visible()
    tab("Report").click()
    expect(page.frame_locator("iframe").get_by_text("A report")).to_be_visible()
    assert page.evaluate("window.broken") is None
    tab("Plugins").click()
    expect(
        page.get_by_role("row", name=re.compile("^faces .* models: faces, faces-clean"))
    ).to_be_visible()
    tab("Upscale").click()
    for key, name in (("ArrowRight", "Compare"), ("ArrowRight", "Train"), ("ArrowLeft", "Compare")):
        page.keyboard.press(key)
        expect(tab(name)).to_have_attribute("aria-selected", "true")
        expect(tab(name)).to_be_focused()
    for _ in range(2):  # the first is followed by the last
        page.keyboard.press("ArrowLeft")
    expect(tab("Plugins")).to_be_focused()


# Words with too little contrast (WCAG 2.2, AA), no name, or lies beyond the window.
AUDIT = """() => {
    const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const rgba = (colour) => {
        pixel.clearRect(0, 0, 1, 1);
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
        return pixel.getImageData(0, 0, 1, 1).data;
    };
    const over = (top, below) => below.map((v, i) => v + (top[i] - v) * top[3] / 255);
    const under = (e) => over(rgba(getComputedStyle(e).backgroundColor),
        e.parentElement ? under(e.parentElement) : [255, 255, 255]);
    const light = (rgb) => rgb.map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0.05);
    const seen = (e) => e.checkVisibility({visibilityProperty: true});
    const all = [...document.querySelectorAll("[class*=srkit] *, [role=tab]")].filter(seen);
    const words = all.filter((e) => !e.matches(":disabled, option, svg *")
        && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
    const scrolled = (e) => e && (getComputedStyle(e).overflowX === "auto"
        || scrolled(e.parentElement));
    const pale = words.filter((e) => {
        const ground = under(e), ink = over(rgba(getComputedStyle(e).color), ground);
        const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
        return high / low < 4.5;
    });
    const nameless = all.filter((e) => e.matches("button, input, select, a, [tabindex]")
        && !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()));
    const outside = ({left, right}) => left < 0 || right > innerWidth + 1;
    const beyond = all.filter((e) => !e.matches("caption, svg *") && !scrolled(e.parentElement)
        && outside(e.getBoundingClientRect()));
    return [words.length, ...[pale, nameless, beyond].flat().map((e) => e.outerHTML.slice(0, 200))];
}"""


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_it_fits_a_phone_is_dark_where_asked_and_can_be_read(
    browser: Browser, server: Server, width: int, scheme: Literal["dark", "light"]
) -> None:
    window = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page = opened(window, server)
    page.get_by_role("button", name="astronaut face").first.click()
    expect(page.get_by_alt_text("After: result of srkit")).to_be_visible()
    expect(page.get_by_role("slider").first).to_be_in_viewport()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", background)[:3]))
    assert lightness < 200 if scheme == "dark" else lightness > 700
    page.locator("summary").click()
    tabs = {
        "Upscale": ".faces",
        "Compare": "[data-models] input",
        "Train": ".charts svg",
        "Report": "iframe",
        "Plugins": "td",
    }
    for tab, content in tabs.items():
        if page.get_by_role("tab", name=tab).is_visible():
            page.get_by_role("tab", name=tab).click()
        else:  # the rest are in a menu
            page.locator(".overflow-menu button").first.click()
            page.locator(".overflow-dropdown").get_by_text(tab).click()
        expect(page.locator(content).first).to_be_attached()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        words, *faults = page.evaluate(AUDIT)
        assert words > 3
        assert faults == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    window.close()


# In a network of its own, which has loopback alone: Linux counts what would go elsewhere, by
# whatever library.
LONELY = """
import contextlib, fcntl, json, os, pathlib, socket, struct, subprocess, sys, httpx
with socket.socket() as up:
    fcntl.ioctl(up, 0x8914, struct.pack("16sh14x", b"lo", 1))
def attempts():
    names, values = [r.split() for r in open("/proc/net/snmp") if r.startswith("Ip:")]
    six = [line.split() for line in open("/proc/net/snmp6")]
    return int(values[names.index("OutNoRoutes")]) + int(dict(six)["Ip6OutNoRoutes"])
command = [sys.executable, "-m", "srkit", "ui", "--port", "0"]
with contextlib.ExitStack() as end:
    server = end.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    end.callback(server.terminate)
    url = server.stdout.readline().split()[2]
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
        assert client.get("/").is_success and client.get("/srkit/about").is_success
        content = pathlib.Path(sys.argv[1]).read_bytes()
        image = client.post("/srkit/images", params={"name": "a.png"}, content=content).json()["id"]
        for options in ({}, {"faces": True}):
            lines = client.post(f"/srkit/images/{image}/upscale", json=options).text.splitlines()
            result = json.loads(lines[-1])["result"]["id"]
        scores = client.post("/srkit/measure", json={"result": result, "reference": result}).json()
        assert (scores["psnr"], scores["ssim"], scores["identity"]) == (None, 1, 0)
counts = [attempts()]
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    with socket.socket(family) as elsewhere:
        assert elsewhere.connect_ex((address, 80)) != 0
    counts.append(attempts())
print(counts)
"""


@pytest.mark.long
def test_it_works_without_a_network_and_looks_for_none(tmp_path: Path) -> None:
    alone = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], stderr=-3).returncode:
        pytest.skip("needs Linux, and a network of its own: unshare --map-root-user --net")
    photo = tmp_path / "photo.png"
    Image.fromarray(skimage.data.astronaut()).resize((160, 160)).save(photo)
    # Where tests seem to run, some libraries don't report what they otherwise do.
    tested = ("CI", "ORT_", "GITHUB_", "PYTEST_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(tested)}
    command = [*alone, sys.executable, "-c", LONELY, str(photo)]
    environment["HOME"] = str(tmp_path)
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == [0, 1, 2]
    assert not list(tmp_path.rglob("*onnxruntime*"))  # what it would send later


# --- what others may not ------------------------------------------------------------------------


def test_hosts_origins_and_paths_that_are_not_ours_are_refused(server: Server) -> None:
    with server.client() as client:
        host = server.url.removeprefix("http://")
        fine = {"Host": host, "Origin": server.url, "Sec-Fetch-Site": "same-origin"}
        assert client.get("/srkit/about", headers=fine).status_code == 200
        assert client.get("/srkit/about", headers={"Host": f"LOCALHOST:{host[-4:]}"}).is_success
        for name in ("evil.example", "127.0.0.1.evil.example", "", "[::2]:1", "10.0.0.1"):
            answer = client.get("/", headers={"Host": name})
            assert answer.status_code in (400, 421), name
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"):
            answer = client.post("/srkit/zip", headers={"Origin": origin}, json={"ids": ["a"]})
            assert (answer.status_code, answer.json()["error"]) == (
                403,
                "another site's page may not use this server",
            )
        for site in ("cross-site", "same-site"):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
            assert client.get("/srkit/about", headers=headers).status_code == 403
            followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
            assert client.get("/", headers=followed).is_success  # a link to the page
        secret = Path(tempfile.gettempdir()) / "secret.txt"
        for path in (
            f"/gradio_api/file={secret}",
            "/gradio_api/file=/etc/passwd",
            "/file=/etc/passwd",
            "/gradio_api/proxy=http://127.0.0.1:1/",
            "/gradio_api/upload",
            "/gradio_api/queue/join",
            "/gradio_api/run/predict",
            "/gradio_api/app_id",
            "/gradio_api/info",
            "/monitoring",
            "/docs",
            "/openapi.json",
            "/gradio_api/stream/a/b/1/playlist.m3u8",
            "/srkit/static/..%2fapi.py",
            "/srkit/static/%2e%2e/api.py",
            "/static/..%2f..%2findex.html",
            "/assets/..%2f..%2f..%2froutes.py",
            "/srkit/images/..%2f..%2fetc%2fpasswd/file",
            "/srkit/images/%2fetc%2fpasswd",
            "/srkit/reports/..",
            "/srkit/runs/..",
            "/srkit/runs/mine",
            "/srkit/listed/models",
            "/srkit/reports/%2fetc",
            "/srkit/grids/..%2f../1",
        ):
            for method in ("GET", "POST"):
                answer = client.request(method, path, content=b"")
                assert answer.status_code in (404, 405, 422), (path, answer.status_code)
                assert b"root:" not in answer.content
        assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")


def test_requests_are_bounded_and_names_are_only_names(server: Server, tmp_path: Path) -> None:
    png = face(tmp_path / "a.png", 16).read_bytes()
    with server.client() as client:
        heavy = bytes((1 << 20) + 1)
        parts = (part for part in (heavy[: 1 << 19], heavy[1 << 19 :]))
        for body in (heavy, parts):
            with contextlib.suppress(httpx.TransportError):  # closed when enough was read
                assert client.post("/srkit/images", content=body).status_code in (400, 413)
        for path in ("/srkit/zip", "/srkit/measure"):
            with contextlib.suppress(httpx.TransportError):
                assert client.post(path, content=bytes(1 << 19)).status_code == 413
        name = "../../\x00etc\\\u202epass\nwd.png"
        image = client.post("/srkit/images", params={"name": name}, content=png).json()
        assert image["name"] == "passwd.png"
        address = f"/srkit/images/{image['id']}"
        lines = client.post(f"{address}/upscale", json={}).text.splitlines()
        result = json.loads(lines[-1])["result"]
        saved = client.get(f"/srkit/images/{result['id']}/file").headers["content-disposition"]
        assert saved == 'attachment; filename="passwd-x4.png"'
        for wrong, said in (
            ({"model": "/etc/passwd"}, "no model '/etc/passwd'"),
            ({"model": "hf://a/b"}, "no model 'hf://a/b'"),
            ({"scale": 1000}, "scale: Input should be less than or equal to 64"),
            ({"format": "../x"}, "can't write '../x'"),
            ({"out": "/tmp/x"}, "out: Extra inputs are not permitted"),
        ):
            answer = client.post(f"{address}/upscale", json=wrong)
            assert said in answer.text
        assert client.get(address, params={"width": 10**6, "height": 10**6}).status_code == 422
        client.delete(address)
        assert client.get(address).status_code == 404


@pytest.mark.long
def test_it_ends_without_a_word_whatever_it_loads(tmp_path: Path) -> None:
    for number in range(20):
        server = Server(tmp_path / str(number), "--port", "0")
        time.sleep(number / 4)
        server.end((signal.SIGTERM, signal.SIGINT)[number % 2])
        assert server.process.returncode == 0


def test_others_are_let_in_by_a_password_only(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, said = cli("ui", "--host", "0.0.0.0", "--port", "0")
    assert status == 2
    assert said == (
        "srkit: --host 0.0.0.0 lets others in: give user:password by --auth, or SRKIT_UI_AUTH\n"
    )
    file = tmp_path / "auth.txt"
    file.write_text("someone\n")
    assert "--auth holds one line, user:password" in cli("ui", "--auth", file)[2]
    assert "can't be read" in cli("ui", "--auth", tmp_path / "none.txt")[2]
    file.write_text("someone:pässword:2\n", encoding="utf-8")
    how = ("--host", "0.0.0.0", "--port", "0", "--auth", str(file))
    with Server(tmp_path / "server", *how) as server:
        port = server.url.rpartition(":")[2]
        server.url = f"http://127.0.0.1:{port}"
        client = server.client()
        for path in ("/", "/srkit/about", "/srkit/zip", "/theme.css"):
            answer = client.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
        for wrong in (("someone", "password:2"), ("", ""), ("someone", "pässword:2x")):
            assert client.get("/", auth=wrong).status_code == 401
        assert client.get("/", auth=("someone", "pässword:2")).status_code == 200
        assert client.get("/", auth=("someone", "pässword:2"), headers={"Host": "a.b"}).is_error
        client.close()
        status, _, said = cli("ui", "--port", port)
        assert status == 2
        assert f"srkit: can't listen at 127.0.0.1, port {port}: " in said
        server.end(signal.SIGINT)  # while it loads
        assert server.process.returncode == 0


def test_clients_wait_in_a_bounded_queue_in_their_order(server: Server, tmp_path: Path) -> None:
    png = face(tmp_path / "a.png", 48).read_bytes()
    with server.client() as client:
        image = client.post("/srkit/images", params={"name": "a.png"}, content=png).json()

        def ask(number: int) -> tuple[int, str]:
            answer = client.post(f"/srkit/images/{image['id']}/upscale", json={"scale": 4})
            return answer.status_code, answer.text

        with ThreadPoolExecutor(90) as threads:
            answers = list(threads.map(ask, range(90)))
        refused = [text for status, text in answers if status == 503]
        assert 0 < len(refused) <= 90 - Limits().waiting
        assert "64 images are waiting already; try again later" in refused[0]
        assert sum('"result"' in text for _, text in answers) == 90 - len(refused)


def test_files_are_kept_within_bounds_in_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{PREFIX}killed").mkdir()
    (tmp_path / f"{PREFIX}killed" / "image").write_bytes(b"x")
    store = Store(Limits(stored_bytes=10, stored_files=3, seconds=60))
    assert [folder.name for folder in tmp_path.iterdir()] == [store.folder.name]
    assert store.folder.stat().st_mode & 0o077 == 0
    other = Store(Limits())  # leaves the first one's alone
    a = store.add("a.png", b"12345", (1, 1))
    b = store.add("a.png", b"123", (1, 1))
    with pytest.raises(RefusedError, match="keeps 0 MB and 3 files at most") as refusal:
        store.zip([a, b])
    assert refusal.value.status == 507
    a.used -= 61
    store.expire()
    assert not a.file.exists()
    with pytest.raises(RefusedError, match="isn't there any more"):
        store.get(a.id)
    store.close()
    other.close()
    assert not list(tmp_path.iterdir())
    assert plain("/etc/passwd") == plain("..\\passwd") == "passwd"
    assert plain("....") == "image"
    assert len(plain("x" * 500 + ".jpeg")) == 125


def test_equal_names_get_numbers_in_an_archive() -> None:
    store = Store(Limits())
    files = [store.add(name, b"1", (1, 1)) for name in ("a.png", "A.png", "a-2.png", "a.png")]
    names = zipfile.ZipFile(store.zip(files).file).namelist()
    assert names == ["a.png", "1-A.png", "a-2.png", "3-a.png"]
    store.close()
