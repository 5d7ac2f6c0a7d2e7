"""Make the report that the documentation shows, from scikit-image's photographs.

    python docs/make_report.py [FOLDER]

Squares of four photographs, and the astronaut's face (Eileen Collins; NASA, public domain), become
`docs/report-example.html`, and, where there is a Chromium, `docs/pictures/report.png`. With a
folder the whole report is left in it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage.data
from PIL import Image
from srkit_demo.demo import FACE

import srkit
from srkit.evaluation.report import Report
from srkit.files import atomic

DOCS = Path(__file__).parent
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
SIDE = FACE[2] - FACE[0]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VIEW = (1240, 1450)  # of the page, in pixels, light beside dark
ONLY_IMAGES = "header, footer, section:not(#images) { display: none } #images { margin: 0 }"
DARK = "--blink-settings=preferredColorScheme=0"


def photos(folder: Path) -> None:
    """Write the face, and all squares of its size side by side in each photograph."""
    folder.mkdir()
    for name in PHOTOS:
        photo = Image.fromarray(getattr(skimage.data, name)())
        places = [
            (x, y)
            for y in range(0, photo.height - SIDE + 1, SIDE)
            for x in range(0, photo.width - SIDE + 1, SIDE)
        ]
        for number, (x, y) in enumerate(places, 1):
            photo.crop((x, y, x + SIDE, y + SIDE)).save(folder / f"{name}-{number}.png")
    Image.fromarray(skimage.data.astronaut()).crop(FACE).save(folder / "astronaut-face.png")


def report(folder: Path) -> Report:
    """Bench the shipped model on those, and write the report into a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        photos(Path(temporary) / "photos")
        return srkit.bench(
            ["faces"],
            data=Path(temporary) / "photos",
            protocol="square",
            device="cpu",
            report=folder,
            command="python docs/make_report.py",
        )


def screenshot(browser: str, page: str, file: Path, *options: str) -> Image.Image:
    """Return what a browser shows of a page."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", "--window-size={},{}".format(*VIEW)]
        command += [*options, f"--screenshot={file}", page]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(file) as image:
        return image.convert("RGB")


def picture(browser: str, page: Path) -> Image.Image:
    """Return the page's top in light, and its images in dark, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        shot, copy = Path(folder) / "shot.png", Path(folder) / "images.html"
        light = screenshot(browser, page.resolve().as_uri(), shot)
        html = page.read_text(encoding="utf-8")
        copy.write_text(html.replace("</style>", f"{ONLY_IMAGES}</style>"), encoding="utf-8")
        dark = screenshot(browser, copy.as_uri(), shot, DARK)
    both = Image.new("RGB", (light.width + dark.width, light.height))
    both.paste(light, (0, 0))
    both.paste(dark, (light.width, 0))
    small = both.resize((both.width * 3 // 5, both.height * 3 // 5), Image.Resampling.LANCZOS)
    return small.quantize(256, kmeans=4, dither=Image.Dither.NONE)  # a third of the bytes


def main(folder: Path) -> None:
    """Make both files."""
    report(folder)
    page = folder / "index.html"
    with atomic(DOCS / "report-example.html") as temporary:
        temporary.write_bytes(page.read_bytes())
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"docs/pictures/report.png stays as it is: none of {', '.join(BROWSERS)} is here")
    with atomic(DOCS / "pictures" / "report.png") as temporary:
        picture(browser, page).save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
