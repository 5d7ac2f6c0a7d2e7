"""What results show in a notebook: the example is executed, and its outputs looked at."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from srkit import notebook
from srkit.evaluation.tables import Table, Value

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "notebook.ipynb"
IMAGE = re.compile(r'src="data:image/png;base64,([^"]+)"')


def outputs(cell: Any, kind: str) -> str:
    return "".join(o["data"][kind] for o in cell.outputs if kind in o.get("data", {}))


def pictures(html: str) -> list[np.ndarray]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in IMAGE.findall(html)
    ]


@pytest.mark.long
def test_the_example_runs_and_shows_tables_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    example = nbformat.read(EXAMPLE, as_version=4)
    NotebookClient(example, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in example.cells if cell.cell_type == "code"]
    model, face, run, report, frame, own = cells
    assert "faces" in outputs(model, "text/html")
    assert "image/png" in face.outputs[-1]["data"]
    assert "bicubic_psnr" in outputs(run, "text/html")
    assert len(pictures(outputs(run, "text/html"))) == 2  # curves, and the last grid
    assert "<progress" in outputs(run, "text/html")
    assert "held out, on" in "".join(o.get("text", "") for o in run.outputs)
    html = outputs(report, "text/html")
    assert "Gain over bicubic" in html
    shown = pictures(html)
    assert len({image.shape for image in shown}) == 2  # LR, and all others
    assert all(image.std() > 5 for image in shown)
    assert "faces" in outputs(frame, "text/plain")
    assert "sharpened" in outputs(own, "text/html")
    assert not any(o.get("name") == "stderr" and o["text"].strip() for o in report.outputs)


def test_a_table_is_escaped_and_the_best_is_bold() -> None:
    table = Table(
        "means",
        "a <b>",
        ["method"],
        ["PSNR, dB"],
        [(["<script>"], [Value(1.5, digits=2, best=True)]), (["b"], [Value(1.0, digits=2)])],
        ["note & more"],
    )
    html = table._repr_html_()
    assert "<script>" not in html
    assert "a &lt;b&gt;" in html
    assert "<b>1.50</b>" in html
    assert "<b>1.00</b>" not in html
    assert "note &amp; more" in html


def test_small_images_are_shown_larger_by_whole_numbers() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    html = notebook.strip({"LR": image, "HR": image.repeat(4, 0).repeat(4, 1)})
    assert html.count("width:128px") == 2
    assert pictures(html)[0].shape == (16, 16, 3)
