"""Check the built site: every link and image inside it leads somewhere, and a phone shows it.

Run by ``nox -s docs``::

    python docs/check_site.py docs/_build
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
# Pages in a frame as wide as a phone say how wide they want to be.
PROBE = """<iframe id="frame" width="390" height="800"></iframe><pre id="found">[]</pre><script>
const pages = PAGES, found = [], frame = document.getElementById("frame");
const next = () => {
  if (!pages.length) {
    document.getElementById("found").textContent = JSON.stringify(found);
    return;
  }
  const page = pages.shift();
  frame.onload = () => {
    const root = frame.contentDocument.documentElement;
    const broken = [...frame.contentDocument.images].filter(i => i.complete && !i.naturalWidth);
    found.push([page, root.scrollWidth, broken.map(i => i.src)]);
    next();
  };
  frame.src = page;
};
next();
</script>"""


class Page(HTMLParser):
    """The links of a page, and the places in it that links lead to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to, and its name."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def broken_links(site: Path) -> list[str]:
    """Return the links within a site that lead nowhere."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html")}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            address, place = urldefrag(unquote(link))
            address = address.partition("?")[0]
            if re.match(r"[a-z]+:|//", address):
                continue
            target = (file.parent / address).resolve() if address else file
            held = pages[target].places if target in pages else {place}
            if not target.exists() or place not in held:
                broken.append(f"{file.relative_to(site.resolve())}: {link}")
    return broken


def too_wide(site: Path) -> list[str]:
    """Return the pages that a phone shows wider than itself, and images that it can't show."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"none of {', '.join(BROWSERS)} is here: pages aren't looked at")  # noqa: T201
        return []
    pages = [file.name for file in sorted(site.glob("*.html"))]
    probe = site / "probe.html"
    probe.write_text(PROBE.replace("PAGES", json.dumps(pages)), encoding="utf-8")
    with tempfile.TemporaryDirectory() as profile:
        options = ("--allow-file-access-from-files", "--virtual-time-budget=60000", "--dump-dom")
        command = [browser, *QUIET, f"--user-data-dir={profile}", *options, probe.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    probe.unlink()
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    found = json.loads(match[1]) if match else []
    if [page for page, *_ in found] != pages:
        return [f"the browser has shown {len(found)} of {len(pages)} pages"]
    wide = [f"{page} is {width} px wide on a phone" for page, width, _ in found if width > 390]
    return wide + [f"{page}: {image} isn't shown" for page, _, images in found for image in images]


if __name__ == "__main__":
    site = Path(sys.argv[1]).resolve()
    problems = broken_links(site) + too_wide(site)
    print("\n".join(problems) or "no broken link")  # noqa: T201
    sys.exit(bool(problems))
