"""Make the pictures of docs/ui.md: `srkit ui` in Chromium, on scikit-image's photographs.

    python docs/make_ui.py RUNS REPORTS

RUNS is a folder of training runs, and REPORTS one of reports, of scikit-image's photographs alone:
`srkit train faces-tiny --data samples`, `python docs/make_report.py FOLDER`.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from srkit_demo.demo import FACE

PICTURES = Path(__file__).parent / "pictures"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


def main() -> None:
    """Serve, and take a picture of each tab."""
    command = ["-m", "srkit", "ui", "--port", "0", "--runs", "runs", "--reports", "reports"]
    with tempfile.TemporaryDirectory() as folder:
        for name, place in zip(("runs", "reports"), sys.argv[1:], strict=True):
            Path(folder, name).symlink_to(Path(place).absolute())
        server = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=folder
        )
        assert server.stdout is not None
        url = server.stdout.readline().split()[2]
        try:
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                tabs(browser, url, Path(folder))
        finally:
            server.terminate()
            server.wait()


def tabs(browser: Browser, url: str, folder: Path) -> None:
    """Take the pictures."""
    page = opened(browser, url)
    upscale(page)
    save(page, "upscale")
    page.get_by_role("tab", name="Compare").click()
    face = Image.fromarray(skimage.data.astronaut()).crop(FACE)
    for name, side in (("image", 32), ("reference", 128)):
        face.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
        page.locator(f"[data-files={name}]").set_input_files(str(folder / f"{name}.png"))
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Done.", exact=True).wait_for(timeout=120_000)
    save(page, "compare")
    for name in ("train", "report", "plugins"):
        page.get_by_role("tab", name=name.capitalize()).click()
        save(page, name)
    page = opened(browser, url, dark=True)
    upscale(page)
    save(page, "dark", 640)
    page = opened(browser, url, phone=True)
    upscale(page)
    save(page, "phone")


def opened(browser: Browser, url: str, *, dark: bool = False, phone: bool = False) -> Page:
    """Return the page in a new window."""
    scheme = "dark" if dark else "light"
    window = browser.new_context(viewport=PHONE if phone else DESK, color_scheme=scheme)  # type: ignore[arg-type]
    page = window.new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    return page


def upscale(page: Page) -> None:
    """Upscale a photograph whose face is found."""
    page.get_by_label("Find faces and restore them").check()
    page.get_by_role("button", name="astronaut", exact=True).first.click()
    page.locator("button.face").wait_for()


def save(page: Page, name: str, width: int = 1100) -> None:
    """Write a picture of what is shown."""
    page.wait_for_timeout(2000)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)))
    picture.save(PICTURES / f"ui-{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
