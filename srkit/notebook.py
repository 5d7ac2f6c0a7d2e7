"""Pieces of HTML that results show in a notebook; it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHOWN_AT = 128  # pixels: small images are shown larger, by repeating their pixels


class Strong(str):
    """A text in bold."""

    __slots__ = ()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], labels: int = 1) -> str:
    """Return a table of texts; without headings it is a list of facts.

    ``labels`` is the number of columns at the left that name the rows.
    """

    def row(cells: Sequence[str], tag: str) -> str:
        sides = ["left"] * labels + ["right" if headings else "left"] * (len(cells) - labels)
        return "".join(
            f'<{tag} style="text-align:{side}">{_text(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )

    head = f"<thead><tr>{row(headings, 'th')}</tr></thead>" if headings else ""
    body = "".join(f"<tr>{row(cells, 'td')}</tr>" for cells in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{_text(text)}</p>"


def _text(text: str) -> str:
    escaped = html.escape(text)
    return f"<b>{escaped}</b>" if isinstance(text, Strong) else escaped


def strip(images: Mapping[str, np.ndarray]) -> str:
    """Return images (name to uint8, ``HW3``) beside each other, each beneath its name."""
    cells = []
    for name, pixels in images.items():
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        width = max(1, SHOWN_AT // pixels.shape[1]) * pixels.shape[1]
        cells.append(
            f'<figure style="display:inline-block;margin:4px"><figcaption>{html.escape(name)}'
            f"</figcaption>{_image(stream.getvalue(), name, min(width, 3 * SHOWN_AT))}</figure>"
        )
    return f"<div>{''.join(cells)}</div>"


def picture(file: Path) -> str:
    """Return a PNG file as an image; nothing where there is none."""
    return _image(file.read_bytes(), file.stem) if file.is_file() else ""


def _image(png: bytes, name: str, width: int | None = None) -> str:
    size = f"width:{width}px;" if width else "max-width:100%;"
    return (
        f'<img alt="{html.escape(name)}" style="{size}image-rendering:pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    )
