"""Checks that take minutes: ``nox -s long``."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from srkit import registry
from srkit.cli import main
from srkit.training import run_folder
from srkit.training.loop import GRADIENTS_AT, train

SCENARIOS = {
    "inception-gan-pixel": {"pixel"},
    "inception-gan-adversarial": {"pixel", "adversarial"},
    "inception-gan-feature": {"pixel", "adversarial", "feature"},
    "inception-gan": {"pixel", "adversarial", "feature", "psnr"},
}


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_trains_on_real_faces(name: str, data_root: Path, tmp_path: Path) -> None:
    recipe = registry.build("recipes", name).changed(
        {"steps": 300, "generator.width": 0.25, "validate_every": 150}
    )
    if recipe.discriminator:
        recipe = recipe.changed({"discriminator.width": 0.25})
    result = train(recipe, data=data_root / "celeba", out=tmp_path / "run", log_every=25)
    log = [
        json.loads(line) for line in (tmp_path / "run" / run_folder.LOG).read_text().splitlines()
    ]
    norms = {
        record["step"]: record["gradient_norms"] for record in log if "gradient_norms" in record
    }
    assert set(norms) == {GRADIENTS_AT, 150, 300}
    for each in norms.values():
        assert set(each) == SCENARIOS[name]
        assert all(math.isfinite(norm) and norm > 0 for norm in each.values())
    losses = [record["losses"] for record in log if "losses" in record]
    assert losses[-1]["pixel"] < 0.7 * losses[0]["pixel"]
    assert math.isfinite(result.scores["psnr"])


@pytest.mark.long
def test_the_recipe_of_clean_faces_beats_bicubic_soon(data_root: Path, tmp_path: Path) -> None:
    recipe = registry.build("recipes", "faces-clean").changed(
        {"steps": 400, "ema": 0.98, "validate_every": 400, "init": None}
    )
    result = train(recipe, data=data_root / "celeba", out=tmp_path / "run")
    assert result.scores["psnr"] > result.scores["bicubic_psnr"] + 1.0


@pytest.mark.long
def test_the_demo_trains_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--train"]) == 0
    assert (tmp_path / "srkit-demo-train.png").is_file()


@pytest.mark.long
def test_memory_grows_by_little_more_than_the_result(tmp_path: Path) -> None:
    """The command on 12 megapixels: 4/3 of the result, the input, seams; and a margin of .1."""
    script, file = Path(__file__).parents[1] / "benchmarks/upscale_memory.py", tmp_path / "a.json"
    how = ("--model", "bicubic", "--megapixels", "12", "--formats", "jpg", "png", "--json", file)
    subprocess.run([sys.executable, script, *how], check=True, timeout=3600)
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert set(rows) == {"jpg, 4000x3000", "png, 4000x3000"}
    for row in rows.values():
        assert 1.2 < row["growth_over_result"] < 1.6, row
