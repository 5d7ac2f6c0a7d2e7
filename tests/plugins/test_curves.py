"""A run's image: what is drawn of which log, and that nothing in a log can break it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image
from srkit_curves import plot

from srkit import InputError


def line(step: int, **terms: float) -> dict[str, Any]:
    """A line of a log, as `srkit.train` writes it."""
    losses = {"l1": 0.05 + 1 / step, **terms}
    return {
        "step": step,
        "losses": {**losses, "loss": sum(losses.values())},
        "learning_rate": 1e-3,
        "images_per_second": 512.0,
    }


def judged(step: int) -> dict[str, Any]:
    scores = {"psnr": 20 + step / 100, "ssim": 0.6, "bicubic_psnr": 21.0, "bicubic_ssim": 0.7}
    return {"step": step, "gradient_norms": {"l1": 0.1}, "validation": scores}


def adversarial(step: int) -> dict[str, Any]:
    draw = random.Random(step).gauss
    return line(
        step, adversarial=-0.7, feature=2.0, psnr=draw(-20, 1), discriminator=draw(1.3, 0.1),
        d_real=0.6, d_fake=0.4, d_accuracy=0.75,
    )  # fmt: skip


def run(folder: Path, records: Iterable[dict[str, Any]], rows: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(f"{json.dumps(record)}\n" for record in records)
    (folder / plot.LOG).write_text(text, encoding="utf-8")
    if rows:
        Image.new("RGB", (64, 16 * rows), "red").save(folder / "grid-00000010.png")
        Image.new("RGB", (64, 16 * rows), "blue").save(folder / "grid-00000020.png")
    return folder


def test_each_term_has_a_panel_and_the_sum_where_there_are_several() -> None:
    titles = list(plot.panels([line(10), line(20) | judged(20)]))
    speed = ["Learning rate", "images/s"]
    assert titles == ["Loss: l1", "Validation: PSNR", "Validation: SSIM", *speed]
    assert list(plot.panels([line(10, mse=0.1)])) == ["Loss: l1", "Loss: mse", "Loss: loss", *speed]


def test_a_run_with_adversary_has_a_panel_for_its_statistics() -> None:
    panels = plot.panels([adversarial(n) for n in (1, 2)])
    assert panels["Discriminator"].keys() == {"d_accuracy", "d_real", "d_fake"}
    assert {"Loss: adversarial", "Loss: discriminator", "Loss: psnr"} <= panels.keys()


LOGS = [
    [line(50)],
    [line(50) | judged(50)],
    [judged(50)],
    [{"step": 100, "gradient_norms": {"l1": 1.0}}, line(150)],
    [line(50), {"step": 70, "event": "bad $step_ 漢字\nskipped"}, {"step": 71, "note": 1}],
    [{"step": 0, "event": "start"}, *map(adversarial, range(1, 40)), judged(40)],
    [line(n, l1=0.0) for n in range(1, 30)],
    [adversarial(n) | (judged(n) if n % 2 else {}) for n in range(1, 1000)],
    [
        line(n, **{"$a_very^long" * 3: 1e-9 * n, "l1": (1, math.inf, math.nan)[n % 3]})
        for n in range(1, 30)
    ],
]


@pytest.mark.parametrize(
    ("records", "rows"),
    [
        pytest.param(log, 6 * (n % 2), marks=() if n in (2, 5, 8) else pytest.mark.long)
        for n, log in enumerate(LOGS)
    ],
)
def test_whatever_a_log_holds_is_drawn(
    tmp_path: Path, records: list[dict[str, Any]], rows: int
) -> None:
    with Image.open(plot.draw(run(tmp_path, records, rows))) as image:
        assert image.size == tuple(round(side * plot.DPI) for side in plot.SIZE)
        assert image.mode == "RGB"
        assert len(image.getcolors(1 << 24) or ()) > 10
        pixels = np.asarray(image)
    newest, older = ((pixels == colour).all(axis=2) for colour in ((0, 0, 255), (255, 0, 0)))
    assert newest.mean() > 0.1 or not rows
    assert not older.any()


@pytest.mark.long
def test_equal_runs_give_equal_bytes_and_matplotlib_is_left_alone(tmp_path: Path) -> None:
    records = [adversarial(n) for n in range(1, 60)] + [judged(60)]
    first = plot.draw(run(tmp_path / "run", records, rows=6)).read_bytes()
    before = dict(matplotlib.rcParams)
    assert plot.draw(tmp_path / "run").read_bytes() == first
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.family": "serif", "savefig.dpi": 33, "axes.grid": True}):
        assert plot.draw(tmp_path / "run").read_bytes() == first
    assert not list((tmp_path / "run").glob(".*"))


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1}\n{"step": 2}\n' + b"[" * 100_000 + b"\n\xff\n")
    with pytest.raises(InputError, match="line 3 is no record of a run"):
        plot.read_log(log)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    run(tmp_path, [line(10), line(20)])
    with (tmp_path / plot.LOG).open("a", encoding="utf-8") as log:
        log.write('{"step": 30, "los')
    assert [record["step"] for record in plot.read_log(tmp_path / plot.LOG)] == [10, 20]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't read the log of a run"),
        ("", "nothing to draw yet"),
        ('{"step": 3, "event": "start"}\n', "nothing to draw yet"),
        ('{"no": 1}\n{"step": 3}\n', "line 1 is no record of a run"),
        ('[]\n{"step": 3}\n', "line 1 is no record of a run"),
    ],
)
def test_no_log_to_draw_is_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / plot.LOG).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as raised:
        plot.draw(tmp_path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / plot.IMAGE).exists()
