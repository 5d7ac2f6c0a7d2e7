"""``srkit audit``: its rows are what a bench by such a protocol measures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from srkit import bench
from srkit.cli import main
from srkit.evaluation.protocol import Protocol


def test_an_audit_is_the_protocol_and_its_neighbours(
    crops: Callable[[Path, int, int], list[Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    photos, file = tmp_path / "photos", tmp_path / "audit.json"
    crops(photos, 8, 64)
    assert main(["audit", "lanczos", "--data", str(photos), "--json", str(file)]) == 0
    assert "SSIM in uniform 7x7, border 4" in capsys.readouterr().out
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert len({(row["compared"], row["border"], row["kernel"]) for row in rows}) == len(rows) == 13

    def scores(compared: str, border: int, kernel: str) -> dict[str, float]:
        (row,) = (r for r in rows if list(r.values())[:3] == [compared, border, kernel])
        each: dict[str, float] = row["scores"]["bicubic"]
        return each

    for border, kernel in ((0, "bicubic"), (4, "bicubic"), (0, "aliased-bicubic")):
        protocol = Protocol.named("paper").changed(
            border=border, options={"noise": 0.02, "kernel": kernel}
        )
        quality = bench("bicubic", data=photos, protocol=protocol).quality
        assert quality is not None
        found = scores("Y", border, kernel)
        assert found["psnr"] == quality.mean("bicubic", "psnr-y")
        assert found["ssim"] == quality.mean("bicubic", "ssim-y")
        assert found["low"] < found["psnr"] < found["high"]
    assert scores("RGB", 0, "bicubic")["psnr"] < scores("Y", 0, "bicubic")["psnr"] - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "real"), "an audit compares with HR, and protocol 'real' has none"),
        (("--json", "."), "can't write .: it is a folder"),
    ],
)
def test_a_wrong_choice_is_one_line(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments]) == 2
    assert capsys.readouterr().err == f"srkit: {message}\n"
