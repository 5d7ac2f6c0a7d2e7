"""Charts that hold on white and on near-black: one drawing, its colours left to the page.

Every colour that is used here has a name in the page's style sheet. In the vector graphics within
the page it is replaced by that name, so that light, dark and print have their own; PNG files take
the colours as they stand here, on white.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from srkit.evaluation.columns import HR, LR, REFERENCES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, RULE, PAPER = "#1d2127", "#5f6875", "#d5d9df", "#ffffff"
# Told apart by every kind of colour vision, and at least 4.5:1 against white; the style sheet has
# lighter ones of the same hues for dark pages.
SERIES = ("#0068a8", "#b84700", "#00734f", "#a3417f", "#7d5a00", "#4a54c4", "#6b6f00", "#a32c2c")
VARIABLES = {INK: "ink", GREY: "grey", RULE: "rule", PAPER: "page"} | {
    colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)
}

FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine measures the same
SMALL, TEXT = 9.0, 9.5  # points
DPI = 200  # of PNG files
LABEL = 28  # letters


def canvas(
    width: float = 6.4, height: float = 3.4, panels: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Return an empty drawing with panels side by side.

    Args:
        width: In inches; the page shows 6.4 at its full text width.
        height: In inches.
        panels: How many in a row.
        rows: How many rows of them.
        **options: Of `matplotlib.figure.Figure.subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    grid = figure.subplots(rows, panels, squeeze=False, **options)
    axes = list(grid.flat)
    for ax in axes:
        dress(ax)
    return figure, axes


def dress(ax: Axes) -> None:
    """Give axes the look of all the others: two thin lines, a pale grid, small grey figures."""
    ax.set_facecolor("none")
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=RULE, linewidth=0.9)
    ax.grid(True, color=RULE, linewidth=0.5)
    ax.set_axisbelow(True)
    ax.tick_params(which="both", labelsize=SMALL, labelcolor=GREY, color=RULE, length=3)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=GREY, fontsize=SMALL)
    ax.title.set(color=INK, fontsize=TEXT)


def legend(where: Axes | Figure, *handles: Any, **options: Any) -> None:
    """Add a legend without a box to axes, or to a figure of several."""
    look = {"frameon": False, "fontsize": SMALL, "labelcolor": INK, "handlelength": 2.2}
    where.legend(*handles, **look, **options)


def label(name: str) -> str:
    """Return a name as a chart can show it: one line, cut, only letters that the font has."""
    from srkit.training.plot import printable

    return printable(name, LABEL)


def colours(columns: Sequence[str]) -> dict[str, str]:
    """Return each column's colour: ink for HR, grey for what is no model, then one a model."""
    still = (LR, *REFERENCES)
    models = [name for name in columns if name not in (*still, HR)]
    found = {name: SERIES[number % len(SERIES)] for number, name in enumerate(models)}
    return {name: found.get(name, INK if name == HR else GREY) for name in columns}


def lines(columns: Sequence[str]) -> dict[str, Any]:
    """Return each column's dashes: models and HR are whole lines, the others broken ones."""
    broken = {LR: (0, (1, 1.6)), "nearest": (0, (5, 1.5, 1, 1.5)), "lanczos": (0, (6, 2, 1, 2))}
    broken["bicubic"] = (0, (4, 2))
    return {name: broken.get(name, "-") for name in columns}


def _plain(figure: Figure) -> None:
    """Take every text as it is: names hold dollar signs that mean no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
        text.set_fontfamily(FONT)


def png(figure: Figure) -> bytes:
    """Return a drawing as a PNG file, on white."""
    _plain(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, facecolor=PAPER, metadata={"Software": None})
    return file.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return a drawing as an ``svg`` element whose colours are variables of the page's style.

    Args:
        figure: Drawn with the colours of this module.
        name: Unlike that of all others in the page; the element's ids begin with it.
    """
    import matplotlib

    _plain(figure)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # Addresses of name spaces mean nothing within HTML; the page shall name no address at all.
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg {box[0]} aria-hidden="true">' + _named(body, name)


def _named(body: str, name: str) -> str:
    """Make ids the drawing's own, and colours and the typeface the page's."""

    def within(tag: re.Match[str]) -> str:
        said = " ".join(tag[0].split())
        said = re.sub(r'^<g id="[^"]*"', "<g", said)  # nothing refers to groups
        said = re.sub(r'\bid="', f'id="{name}-', said)
        said = said.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
        for colour, variable in VARIABLES.items():
            said = said.replace(colour, f"var(--{variable})")
        return re.sub(r"font: (?:bold )?([\d.]+px)[^;\"]*", r"font-size: \1", said)

    # Only within tags: what stands between them is text, and may say anything.
    return re.sub(r">\s+<", "><", re.sub(r"<[^<>]*>", within, body))
