"""How Sphinx builds these pages: Markdown in, HTML out, nothing fetched."""

import sys
from pathlib import Path

from docutils import nodes

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
LONG = 40  # characters
exclude_patterns = ["_build", "examples"]
myst_heading_anchors = 3

html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_extra_path = ["report-example.html"]
html_title = f"srkit {release}"


def setup(app):
    """Fill the pages of commands and parts; mark what `site.css` shows in a way of its own."""

    def fill(app, page, source):
        import generate

        if page in generate.FILLED:
            source[0] += f"\n{generate.FILLED[page]()}"

    def mark(app, doctree):
        for code in doctree.findall(nodes.literal):
            if code.astext().startswith("-"):
                code["classes"].append("option")
        for cell in doctree.findall(nodes.entry):
            if len(cell.astext()) > LONG:
                cell["classes"].append("long")

    def bare(app, what, name, obj, options, signature, returns):
        return ("", None) if getattr(obj, "_is_protocol", False) else None  # nobody calls them

    app.connect("autodoc-process-signature", bare)
    app.connect("source-read", fill)
    app.connect("doctree-read", mark)
