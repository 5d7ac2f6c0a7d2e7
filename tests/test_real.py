"""Real LR images without HR: what is measured, what is refused, and what the page says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from srkit_report.examples import SHEET
from srkit_report.page import WITHOUT_HR

import srkit
from srkit import InputError
from srkit.evaluation.methods import write_lr
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Report
from srkit.evaluation.report_tables import means_table
from srkit.evaluation.run import lr_images
from srkit.imaging import codec


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of several sizes, grey ones and one of another format among them."""
    folder = tmp_path_factory.mktemp("real")
    cat = Image.fromarray(skimage.data.chelsea())
    for n in range(14):
        image = cat.crop((20 * n, 30, 20 * n + 30 + n % 3, 66)).convert("L" if n % 2 else "RGB")
        image.save(folder / f"{n:02d}.{'jpg' if n == 5 else 'png'}")
    return folder


@pytest.fixture(scope="module")
def report(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    out = tmp_path_factory.mktemp("report")
    return srkit.bench(["faces"], data=photos, protocol="real", report=out, device="cpu"), out


def test_images_are_lr_as_they_are(report: tuple[Report, Path], photos: Path) -> None:
    quality = report[0].quality
    assert quality is not None
    assert quality.protocol["framing"] == "lr"
    assert list(quality.metrics) == ["lr-consistency"]
    assert len(quality.images) == 14
    assert report[0].render is not None
    images = report[0].render(1)
    assert "HR" not in images
    with Image.open(photos / "01.png") as image:
        lr = np.asarray(image.convert("RGB"))
    assert np.array_equal(images["LR"], lr)
    assert images["faces"].shape == (4 * lr.shape[0], 4 * lr.shape[1], 3)


def test_no_number_without_hr_is_bold(report: tuple[Report, Path]) -> None:
    quality = report[0].quality
    assert quality is not None
    scores = {
        method: {"lr-consistency": [30.0 + n + 5 * (method == "faces") for n in range(14)]}
        for method in quality.scores
    }
    for framing, bold in (("lr", 0), ("whole", 1)):
        other = replace(quality, scores=scores, protocol={**quality.protocol, "framing": framing})
        rows = means_table(other).rows
        assert sum(value.best for _, values in rows for value in values) == bold


def test_lr_consistency_is_that_of_sr_reduced_by_pillow(report: tuple[Report, Path]) -> None:
    quality, render = report[0].quality, report[0].render
    assert quality is not None
    assert render is not None
    images = render(3)
    for name in ("nearest", "faces"):
        # Pillow rounds to 8 bits after each direction, which near 50 dB is seen.
        sr, lr = Image.fromarray(images[name]), images["LR"]
        back = np.asarray(sr.resize(lr.shape[1::-1], Image.Resampling.BICUBIC)).astype(float)
        expected = 20 * math.log10(255) - 10 * math.log10(((back - lr) ** 2).mean())
        assert quality.scores[name]["lr-consistency"][3] == pytest.approx(expected, abs=0.5)


def test_the_page_names_no_winner_and_shows_a_sheet(report: tuple[Report, Path]) -> None:
    out = report[1]
    html = (out / "index.html").read_text(encoding="utf-8")
    assert WITHOUT_HR in html
    assert "is better than every other method (" not in html
    assert html.count('<figure class="case">') == SHEET
    assert "Chosen by name, not by hand, at even distances." in html
    with Image.open(out / "figures" / "images.png") as sheet:
        assert sheet.width > 3 * 100
        assert sheet.height > SHEET * 100


@pytest.mark.parametrize("metric", ["psnr", "fid"])
def test_what_compares_with_hr_is_refused(metric: str, photos: Path) -> None:
    protocol = Protocol.named("real").with_metrics([metric])
    with pytest.raises(InputError, match=rf"{metric}.* compares with|no hr, and {metric}"):
        srkit.bench(["faces"], data=photos, protocol=protocol, device="cpu")


def test_reports_with_and_without_hr_are_not_compared(
    report: tuple[Report, Path], photos: Path
) -> None:
    from srkit_compare.comparison import ProtocolMismatch, compare

    other = srkit.bench(["faces"], data=photos, protocol="paper-clean", limit=14, device="cpu")
    with pytest.raises(ProtocolMismatch, match="framing: lr and squash"):
        compare(report[0], other)


def test_other_programs_get_the_images_themselves(photos: Path, tmp_path: Path) -> None:
    assert write_lr(lr_images(data=photos, protocol="real"), tmp_path / "lr") == 14
    files = sorted((tmp_path / "lr").iterdir())
    written = {codec.read(file).rgb.tobytes() for file in files}
    assert written == {codec.read(file).rgb.tobytes() for file in photos.iterdir()}
