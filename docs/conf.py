"""How Sphinx builds these pages: Markdown in, HTML out, nothing fetched."""

import sys
from pathlib import Path

import srkit

sys.path.insert(0, str(Path(__file__).parent))

project = "srkit"
author = "The srkit developers"
project_copyright = author
version = release = srkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_ivar = True
exclude_patterns = ["_build", "examples"]
myst_heading_anchors = 3

html_theme = "furo"
html_extra_path = ["report-example.html"]
html_title = f"srkit {release}"


def setup(app):
    """Fill the pages of commands and parts when they are read."""

    def fill(app, page, source):
        import generate

        if page in generate.FILLED:
            source[0] += f"\n{generate.FILLED[page]()}"

    app.connect("source-read", fill)
