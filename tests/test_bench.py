"""Quality: figures against other implementations', what can't matter, refusals, and files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from reports import printed
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from srkit_compare.comparison import compare
from torch import Tensor, nn

import srkit
from srkit import InputError, Model, OptionError, registry
from srkit.evaluation import measure as measuring
from srkit.evaluation.measure import TOLERANCE, measure, ordered
from srkit.evaluation.methods import REFERENCES, Method, methods
from srkit.evaluation.protocol import Protocol, fingerprint
from srkit.evaluation.report import Quality, Report
from srkit.evaluation.statistics import difference
from srkit.evaluation.store import Store
from srkit.imaging import codec
from srkit.inference.model import Choice, Limits

Crops = Callable[[Path, int, int], list[Path]]
PLAIN = Protocol(metrics=("psnr", "ssim"))


def blurred(lr: Tensor) -> Tensor:
    return nn.functional.interpolate(lr, scale_factor=4, mode="bilinear")


def sharpened(lr: Tensor) -> Tensor:
    return codec.bicubic(lr, 4) * 1.02 - 0.01


def compared(*others: Method) -> list[Method]:
    return methods(others, Protocol())


@pytest.fixture(scope="module")
def photos(crops: Crops, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return crops(tmp_path_factory.mktemp("bench") / "photos", 9, 64)


@pytest.fixture(scope="module")
def measured(photos: list[Path]) -> Quality:
    """Two models beside the references, by every metric of the paper's protocol."""
    models = (Method("blurred", blurred), Method("sharp [x]", sharpened, "f" * 64))
    return measure(compared(*models), photos, Protocol())


def require_near(a: Quality, b: Quality) -> None:
    """See that two results differ by no more than they may."""
    assert a.scores.keys() == b.scores.keys()
    for method, scores in a.scores.items():
        for metric, values in scores.items():
            most = TOLERANCE[a.metrics[metric]["unit"]]
            assert b.mean(method, metric) == pytest.approx(a.mean(method, metric), abs=most)
            assert b.scores[method][metric] == pytest.approx(values, abs=10 * most)


# --- figures ------------------------------------------------------------------------------------


def test_bicubic_is_what_pillow_and_scikit_image_say(data_root: Path) -> None:
    files = codec.listed(data_root / "celeba" / "test")[:40]
    result = measure(compared(), files, PLAIN)
    assert result.images == [file.name for file in files]
    bicubic = Image.Resampling.BICUBIC
    for number, file in enumerate(files):
        with Image.open(file) as photo:
            high = np.asarray(photo.convert("RGB").resize((64, 64), bicubic))
        lr = codec.to_image(PLAIN.degrade(PLAIN.hr(file)))
        # Pillow rounds to 8 bits between its two passes, torch once at the end.
        sr = np.asarray(lr.resize((64, 64), bicubic))
        psnr = peak_signal_noise_ratio(high, sr, data_range=255)
        ssim = structural_similarity(
            high,
            sr,
            data_range=255,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert result.scores["bicubic"]["psnr"][number] == pytest.approx(psnr, abs=0.03)
        assert result.scores["bicubic"]["ssim"][number] == pytest.approx(ssim, abs=0.002)


def test_references_on_celeba_are_what_another_implementation_measured(data_root: Path) -> None:
    files = codec.listed(data_root / "celeba" / "test")
    result = measure(compared(), files, Protocol(metrics=("psnr", "psnr-y", "ssim", "ssim-y")))
    expected = {"bicubic": (22.33, 23.81, 0.655, 0.692), "lanczos": (22.59, 24.10, 0.667, 0.705)}
    for method, values in expected.items():
        for metric, value in zip(result.metrics, values, strict=True):
            near = 0.02 if metric.startswith("psnr") else 0.002
            assert result.mean(method, metric) == pytest.approx(value, abs=near)


def test_bicubic_gains_nothing_over_itself_and_nearest_loses(measured: Quality) -> None:
    assert measured.gain("bicubic", "psnr") == (0, 0, 0)
    mean, low, high = measured.gain("nearest", "psnr")
    assert low < mean < high < 0
    assert mean == pytest.approx(
        measured.mean("nearest", "psnr") - measured.mean("bicubic", "psnr")
    )
    turned = measured.gain("bicubic", "psnr", over="nearest")
    assert turned[0] == pytest.approx(-mean)


def test_references_come_first_and_models_are_tested_against_each_other(
    measured: Quality,
) -> None:
    assert list(measured.scores) == [*REFERENCES, "blurred", "sharp [x]"]
    assert measured.models == ["blurred", "sharp [x]"]
    assert [one.metric for one in measured.versus] == list(measured.metrics)
    first = measured.versus[0]
    assert (first.a, first.b, first.metric) == ("sharp [x]", "blurred", "psnr")
    assert first.difference == difference(
        measured.scores["sharp [x]"]["psnr"], measured.scores["blurred"]["psnr"]
    )
    assert first.p_adjusted == first.difference.p == 2 / 2**9  # nine images, all of one sign
    assert measured.seconds.keys() == measured.scores.keys()
    assert all(seconds > 0 for seconds in measured.seconds.values())


def test_several_pairs_of_models_are_corrected_for(photos: list[Path]) -> None:
    candidates = [Method(n, blurred if n == "a" else sharpened) for n in ("a", "b", "c")]
    result = measure(compared(*candidates), photos, Protocol(metrics=("psnr",)))
    assert [(one.a, one.b) for one in result.versus] == [("b", "a"), ("c", "a"), ("c", "b")]
    assert [one.difference.p for one in result.versus] == [2 / 512, 2 / 512, 1]
    assert [one.p_adjusted for one in result.versus] == [6 / 512, 6 / 512, 1]


def test_metrics_get_what_they_ask_for(
    fake_distribution: Callable[..., Path], photos: list[Path]
) -> None:
    fake_distribution("srkit-told", {"told_parts": TOLD})
    protocol = Protocol(border=3, metrics=("small", "again", "high"), set_metrics=("pooled",))
    result = measure(compared(Method("blurred", blurred)), photos, protocol, batch_size=4)
    assert set(result.scores["nearest"]["small"]) == {16}
    assert set(result.scores["nearest"]["high"]) == {58}  # 64 without 3 on each side
    assert result.mean("bicubic", "again") < result.mean("blurred", "again")
    assert result.metrics["again"] == {
        "unit": "",
        "higher_is_better": False,
        "title": "Again",
        "provider": "srkit-told 1.0",
    }
    assert result.metrics["small"]["title"] == "small"
    # One number for all nine, 58 * 58 pixels each.
    assert result.set_scores.keys() == result.scores.keys()
    assert result.set_scores["nearest"] == {"pooled": 9 * 58 * 58}
    assert result.set_metrics["pooled"]["unit"] == "px"
    assert "30276.0000" in printed(Report({}, result).tables())
    Report({}, result).write(photos[0].parent.parent / "report.json")
    assert Report.read(photos[0].parent.parent / "report.json").quality == result


TOLD = """
import srkit

class Of:
    unit, higher_is_better = "", False

class Small(Of):
    def __call__(self, lr): return lr.new_full((len(lr),), lr.shape[-1])

class High(Of):
    def __call__(self, *, hr, sr):
        assert hr.shape == sr.shape
        return hr.new_full((len(hr),), hr.shape[-2])

class Again(Of):
    title = "Again"
    def __call__(self, redegraded, lr): return (redegraded - lr).abs().mean(dim=(1, 2, 3))

class Pooled(Of):
    unit, count = "px", 0
    def update(self, sr, hr): self.count += hr[:, 0].numel()
    def compute(self): return self.count

class Odd(Of):
    def __call__(self, sr, weather): return sr

class Whole(Of):
    def __call__(self, sr): return sr.mean()

class NotANumber(Of):
    def __call__(self, sr): return sr.mean(dim=(1, 2, 3)) * float("nan")

class Few(Of):
    def update(self, sr, hr): pass
    def compute(self): raise ValueError("needs 2,048 images")

@srkit.hookimpl
def srkit_metrics():
    return {"small": Small, "again": Again, "high": High, "odd": Odd, "whole": Whole,
            "nan": NotANumber}

@srkit.hookimpl
def srkit_set_metrics(): return {"pooled": Pooled, "few": Few}
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ("odd",)}, "metric 'odd' asks for weather; there are sr, hr, lr, redegraded"),
        ({"metrics": ("whole",)}, r"metric 'whole' gives \(\), not one score an image"),
        ({"metrics": ("nan",)}, "metric 'nan' gives something that is not a number"),
        (
            {"set_metrics": ("few",)},
            r"metric 'few' of srkit-told 1\.0 \(srkit-told\) fails: ValueError: needs 2,048 images",
        ),
        ({"metrics": ("psrn",)}, r"unknown metric 'psrn' \(did you mean 'psnr'"),
        ({"size": 32, "border": 11}, "000001.png: metric 'ssim': images must have sides of 11"),
    ],
)
def test_a_metric_that_cant_be_had_is_one_line(
    fake_distribution: Callable[..., Path],
    photos: list[Path],
    changes: dict[str, Any],
    message: str,
) -> None:
    fake_distribution("srkit-told", {"told_parts": TOLD})
    with pytest.raises(srkit.SrkitError, match=message) as error:
        measure(compared(), photos[:2], Protocol(**{"metrics": ("psnr", "ssim"), **changes}))
    assert "\n" not in str(error.value)


def test_whole_images_of_several_sizes_are_scored_each_in_its_own(
    tmp_path: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [(64, 40), (33, 50), (64, 40), (80, 81), (64, 43)]
    files = []
    for number, size in enumerate(sizes):
        files.append(tmp_path / f"{number}.png")
        with Image.open(photos[number]) as photo:
            photo.resize(size).save(files[-1])
    protocol = Protocol(framing="whole", border=4, metrics=("psnr", "ssim"))
    batches: list[tuple[int, ...]] = []

    def upscaler(lr: Tensor) -> Tensor:
        batches.append(tuple(lr.shape))
        return blurred(lr)

    result = measure(compared(Method("batches", upscaler)), files, protocol)
    # The first is the warm-up; equal sizes go together, 64x43 is cut to 64x40.
    assert batches == [(1, 3, 10, 16), (3, 3, 10, 16), (1, 3, 12, 8), (1, 3, 20, 20)]
    for number, file in enumerate(files):
        alone = measure(compared(Method("batches", blurred)), [file], protocol)
        assert alone.scores["batches"]["psnr"] == [result.scores["batches"]["psnr"][number]]
    monkeypatch.setattr(measuring, "PIXELS", 64 * 40 * 2)
    batches.clear()
    assert measure(compared(Method("batches", upscaler)), files, protocol).scores == result.scores
    assert max(shape[0] for shape in batches) == 1  # no more than fit into memory


# --- what can't matter --------------------------------------------------------------------------


def test_the_order_changes_no_bit(photos: list[Path]) -> None:
    candidates = compared(srkit_model())
    first = measure(candidates, photos, Protocol(), batch_size=4)
    other = measure(candidates, photos[::-1], Protocol(), batch_size=4)
    assert other.scores == first.scores
    assert other.images == first.images == [file.name for file in photos]
    assert other.protocol == first.protocol
    for metric in first.metrics:
        assert other.gain("faces", metric) == first.gain("faces", metric)


def srkit_model() -> Method:
    model = srkit.load("faces", device="cpu")
    return Method("faces", model.upscale, model.sha256)


def test_an_image_scores_the_same_in_any_company(photos: list[Path]) -> None:
    all_of_them, few = (measure(compared(), files, PLAIN) for files in (photos, photos[5:]))
    for method, scores in few.scores.items():
        assert scores["psnr"] == all_of_them.scores[method]["psnr"][5:]


def test_files_of_one_name_are_ordered_by_content(tmp_path: Path, photos: list[Path]) -> None:
    same = []
    for number, file in enumerate(photos[:4]):
        (tmp_path / str(number)).mkdir()
        same.append(Path(shutil.copy(file, tmp_path / str(number) / "photo.png")))
    assert ordered(same) == ordered(same[::-1])
    assert measure(compared(), same, PLAIN).scores == measure(compared(), same[::-1], PLAIN).scores


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_batch_size_matters_less_than_the_tolerance(
    photos: list[Path], batch_size: int
) -> None:
    candidates = compared(srkit_model())
    whole, cut = (measure(candidates, photos, Protocol(), batch_size=b) for b in (64, batch_size))
    require_near(whole, cut)
    for method in REFERENCES:
        assert cut.scores[method] == whole.scores[method]


def test_the_rounding_of_another_device_matters_less_than_the_tolerance(
    photos: list[Path],
) -> None:
    model = srkit_model()
    noise = torch.Generator().manual_seed(0)

    def elsewhere(lr: Tensor) -> Tensor:
        sr = model.upscale(lr)
        # TF32, the coarsest of float32's ways, rounds what is summed to 10 bits of fraction.
        return sr * (1 + 2**-13 * torch.randn(sr.shape, generator=noise))

    here = measure(compared(model), photos, Protocol())
    there = measure(compared(replace(model, upscale=elsewhere)), photos, Protocol())
    assert there.scores["faces"] != here.scores["faces"]
    require_near(here, there)
    # A level of 255 everywhere is more than rounding.
    brighter = replace(model, upscale=lambda lr: model.upscale(lr) + 1 / 255)
    other = measure(compared(brighter), photos, Protocol())
    with pytest.raises(AssertionError):
        require_near(here, other)


@pytest.mark.cuda
def test_a_gpu_measures_what_the_cpu_does(photos: list[Path]) -> None:
    cpu = measure(compared(srkit_model()), photos, Protocol())
    model = srkit.load("faces", device="cuda")
    method = Method("faces", model.upscale, model.sha256)
    gpu = measure(compared(method), photos, Protocol(), device="cuda")
    require_near(cpu, gpu)


def test_copies_of_an_image_are_noted(tmp_path: Path, photos: list[Path]) -> None:
    copy = Path(shutil.copy(photos[0], tmp_path / "copy.png"))
    result = measure(compared(), [*photos[:3], copy], PLAIN)
    assert result.notes == ["1 of 4 images are copies of others"]
    assert result.scores["bicubic"]["psnr"][0] == result.scores["bicubic"]["psnr"][3]
    assert measure(compared(), photos[:3], PLAIN).notes == []


# --- going on -----------------------------------------------------------------------------------


def counted(batches: list[int], dies_after: int = 1 << 30) -> Method:
    def upscaler(lr: Tensor) -> Tensor:
        if sum(batches) + len(lr) > dies_after:
            raise KeyboardInterrupt
        batches.append(len(lr))
        return blurred(lr)

    return Method("counted", upscaler, "0" * 64)


def test_what_was_interrupted_goes_on(tmp_path: Path, photos: list[Path]) -> None:
    store, batches = Store(tmp_path / "partial.sqlite"), list[int]()
    how: dict[str, Any] = {"partial": store, "batch_size": 2}
    whole = measure(compared(counted([])), photos, PLAIN, batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        measure(compared(counted([], dies_after=5)), photos, PLAIN, **how)
    calls: list[tuple[str, int, int]] = []
    done = measure(
        compared(counted(batches)),
        photos,
        PLAIN,
        **how,
        progress=lambda *message: calls.append(message),
    )
    assert batches == [1, 2, 2, 1]  # a warm-up, and the five that were missing
    assert done.scores == whole.scores
    assert done.notes == ["4 images were scored before an interruption"]
    # Two batches were stored, by all four methods.
    assert calls[0] == ("scores", 18, 36)
    assert calls[-1] == ("scores", 36, 36)
    assert done.as_json()["summary"] == whole.as_json()["summary"]


def test_only_what_decides_a_score_makes_it_be_found_again(
    tmp_path: Path, photos: list[Path]
) -> None:
    store = Store(tmp_path / "partial.sqlite")
    measure(compared(counted([])), photos, PLAIN, partial=store)

    def again(method: Method | None = None, files: Sequence[Path] = photos, **changes: Any) -> int:
        batches: list[int] = []
        candidates = method or counted(batches)
        candidates = replace(candidates, upscale=counted(batches).upscale)
        measure(compared(candidates), files, PLAIN.changed(**changes), partial=store)
        return max(0, sum(batches) - 1)  # less the warm-up

    assert again() == 0
    assert again(files=photos[3:]) == 0
    assert again(seed=1) == 9
    assert again(border=2) == 9
    assert again(metrics=("psnr",)) == 9
    assert again(replace(counted([]), sha256="1" * 64)) == 9
    assert again(replace(counted([]), metadata={"provider": "srkit 2"})) == 9
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64), "teal").save(other)
    assert again(files=[*photos, other]) == 1


def test_metrics_of_sets_see_every_image_again(
    tmp_path: Path, fake_distribution: Callable[..., Path], photos: list[Path]
) -> None:
    fake_distribution("srkit-told", {"told_parts": TOLD})
    protocol = Protocol(metrics=("psnr",), set_metrics=("pooled",))
    store = Store(tmp_path / "partial.sqlite")
    first = measure(compared(), photos, protocol, partial=store)
    second = measure(compared(), photos, protocol, partial=store)
    assert second.set_scores == first.set_scores
    assert second.scores == first.scores


# --- refusals -----------------------------------------------------------------------------------


def test_a_model_of_another_scale_is_refused(photos: list[Path]) -> None:
    double = Model("double", registry.build("generators", "bicubic", scale=2), 2)
    with pytest.raises(InputError, match="'double' upscales by 2, the protocol by 4"):
        srkit.bench([double], data=photos[0].parent, device="cpu")


def test_a_method_that_makes_another_size_is_refused(photos: list[Path]) -> None:
    double = Method("double", lambda lr: codec.bicubic(lr, 2))
    with pytest.raises(InputError, match="'double' makes 32x32 pixels of 16x16, not 64x64"):
        measure(compared(double), photos, PLAIN)


def test_a_broken_image_stops_the_bench_and_is_named(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 3, 32)
    (tmp_path / "000002.png").write_text("a note under an image's name")
    with pytest.raises(InputError, match=r"000002\.png: not a readable image"):
        srkit.bench(["bicubic"], data=tmp_path, device="cpu")


def test_what_isnt_there_or_isnt_for_images_is_one_line(photos: list[Path]) -> None:
    with pytest.raises(InputError, match=r"gone\.png: No such file"):
        measure(compared(), [*photos, photos[0].with_name("gone.png")], PLAIN)
    with pytest.raises(InputError, match="no images to measure"):
        measure(compared(), [], PLAIN)
    with pytest.raises(InputError, match="frames faces: it is for identity"):
        measure(compared(), photos, Protocol(framing="face"))
    with pytest.raises(InputError, match="names no metric"):
        measure(compared(), photos, Protocol(metrics=(), set_metrics=("fid",)))
    with pytest.raises(InputError, match="Is a directory"):
        measure(compared(), [photos[0].parent], PLAIN)


# --- the bench ----------------------------------------------------------------------------------


def test_the_test_split_is_taken_where_there_is_one(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "train", 3, 32)
    crops(tmp_path / "test", 2, 32)
    report = srkit.bench(["bicubic"], data=tmp_path, device="cpu")
    assert report.quality is not None
    assert len(report.quality.images) == 2


def test_a_data_set_is_found_by_name(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops(tmp_path / "cats", 2, 32)
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    report = srkit.bench(["bicubic"], data="cats", limit=1, device="cpu")
    assert report.quality is not None
    assert report.quality.images == ["000001.png"]


def test_without_a_model_the_default_is_measured(photos: list[Path]) -> None:
    report = srkit.bench(data=photos[0].parent, device="cpu")
    assert report.quality is not None
    assert list(report.quality.scores) == [*REFERENCES, "faces"]
    assert report.models["faces"]["sha256"] == registry.build("models", "faces").sha256


def test_one_model_may_be_given_by_itself_and_names_may_not_collide(photos: list[Path]) -> None:
    report = srkit.bench("faces", data=photos[0].parent, limit=1, device="cpu")
    assert report.quality is not None
    assert list(report.quality.scores) == [*REFERENCES, "faces"]
    with pytest.raises(InputError, match="two methods would be called 'faces'"):
        srkit.bench(["faces", "faces"], data=photos[0].parent, device="cpu")


def test_images_of_other_sizes_are_brought_to_the_protocols(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (7, 3, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "tiny.png")
    Image.fromarray(noise[..., 0]).save(tmp_path / "grey.png")
    report = srkit.bench(["bicubic"], data=tmp_path, device="cpu")
    assert report.quality is not None
    for values in report.quality.scores["bicubic"].values():
        assert all(math.isfinite(score) for score in values)


# --- the report ---------------------------------------------------------------------------------


def test_images_given_exactly_are_named_and_left_out_of_every_mean(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "flat.png")
    Image.new("RGB", (64, 64), (128, 128, 129)).save(tmp_path / "other.png")
    perfect = [Method(name, lambda lr: torch.full_like(blurred(lr), 128 / 255)) for name in "ab"]
    report = srkit.bench(perfect, data=tmp_path, device="cpu")
    assert report.quality is not None
    assert report.quality.scores["a"]["psnr"][0] == math.inf
    # All methods are compared on the same images.
    for method in ("a", "bicubic"):
        mean = report.quality.mean(method, "psnr")
        assert mean == report.quality.scores[method]["psnr"][1] < 99
    assert math.isfinite(report.quality.gain("a", "psnr")[0])
    difference = report.quality.versus[0].difference
    assert (difference.mean, difference.p) == (0, 1)
    report.publish(tmp_path / "report")
    written = json.loads((tmp_path / "report" / "report.json").read_text())["quality"]
    assert written["summary"]["a"]["psnr"]["mean"] == report.quality.mean("a", "psnr")
    assert written["scores"]["a"]["psnr"][0] == "inf"
    assert written["exact"]["psnr"] == [0]
    assert Report.read(tmp_path / "report").quality == report.quality
    note = "without 1 of 2 images, of which a method gives every pixel, so that its score is "
    assert note + "infinite: flat.png" in (tmp_path / "report" / "index.html").read_text()
    shown = printed(report.tables())
    assert "infinite: flat.png" in " ".join(shown.split())
    assert "inf\n" not in shown
    again = compare(report, Report.read(tmp_path / "report"))
    assert "infinite: flat.png" in " ".join(printed(again.tables()).split())


def test_where_every_image_is_given_exactly_there_is_no_mean(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "flat.png")
    perfect = [Method(name, lambda lr: torch.full_like(blurred(lr), 128 / 255)) for name in "ab"]
    report = srkit.bench(perfect, data=tmp_path, device="cpu")
    assert report.quality is not None
    assert math.isnan(report.quality.mean("a", "psnr"))
    assert "psnr" not in {test.metric for test in report.quality.versus}
    report.publish(tmp_path / "report")


def test_the_report_survives_json_and_states_its_protocol(
    measured: Quality, photos: list[Path], tmp_path: Path
) -> None:
    report = Report({"blurred": {"sha256": None}}, measured)
    report.write(tmp_path / "deep" / "report.json")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.json"]
    read = Report.read(tmp_path / "deep")
    assert read.quality == measured
    assert read.as_json() == report.as_json()
    written = json.loads((tmp_path / "deep" / "report.json").read_text(encoding="utf-8"))
    protocol = written["quality"]["protocol"]
    assert protocol["fingerprint"] == fingerprint(photos)
    assert (protocol["framing"], protocol["size"], protocol["files"]) == ("squash", 64, 9)
    assert protocol["versions"]["srkit"] == srkit.__version__
    for metric in measured.metrics:
        summary = written["quality"]["summary"]["nearest"][metric]
        scores = written["quality"]["scores"]["nearest"][metric]
        assert summary["mean"] == pytest.approx(sum(scores) / 9)
        assert summary["gain_95"] == list(measured.gain("nearest", metric)[1:])
    versus = written["quality"]["versus"][0]
    assert (versus["a"], versus["b"], versus["metric"]) == ("sharp [x]", "blurred", "psnr")
    assert versus["difference"]["p"] == versus["p_adjusted"] == 2 / 512


def test_a_report_with_a_score_too_few_is_no_report(measured: Quality, tmp_path: Path) -> None:
    values = Report({}, measured).as_json()
    values["quality"]["scores"]["bicubic"]["ssim"] = [0.5] * 8
    (tmp_path / "report.json").write_text(json.dumps(values))
    with pytest.raises(
        InputError, match=r"report.json: 'quality' can't be .*: bicubic hasn't 9 scores"
    ):
        Report.read(tmp_path)


def test_the_tables_show_every_model_and_the_protocol_within_a_terminal(
    measured: Quality,
) -> None:
    text = printed(Report({}, measured).tables())
    assert "Quality, mean of 9 images" in text
    for method in measured.scores:
        row = next(line for line in text.splitlines() if line.split(" ")[2:] and method in line)
        assert f" {measured.mean(method, 'psnr'):.2f} " in row
        assert f" {measured.mean(method, 'ssim-y'):.4f} " in row
    gain, low, high = measured.gain("blurred", "psnr")
    assert f" {gain:+.2f} " in text
    assert f"[{low:+.2f}, {high:+.2f}]" in text
    scores = measured.versus[0].difference
    assert f"{scores.mean:+.2f} [{scores.low:+.2f}, {scores.high:+.2f}]" in text
    assert "lower is better" in text
    for message in ("framing squash", "size 64", "degradation faces-x4", "seed 0", "fingerprint"):
        assert message in " ".join(text.split())


def test_many_models_and_metrics_stay_readable(measured: Quality) -> None:
    names = [f"model {n}" for n in range(7)]
    scores = dict(measured.scores["blurred"])
    about = dict(measured.metrics)
    for n in range(5):
        scores[f"other-{n}"] = [0.1234] * 9
        about[f"other-{n}"] = {"unit": "", "higher_is_better": n > 2, "title": f"Other {n}"}
    many = replace(measured, metrics=about, scores=dict.fromkeys((*REFERENCES, *names), scores))
    text = printed(Report({}, many).tables())
    assert "by psnr alone, the other metrics are in the JSON" in " ".join(text.split())
    for message in (*names, "Other 4", "lower is better: ", "Other 0; Other 1; Other 2"):
        assert message in " ".join(text.split())


def test_one_model_is_tested_against_nobody(photos: list[Path]) -> None:
    result = measure(compared(Method("blurred", blurred)), photos, PLAIN)
    assert result.versus == []
    assert "permutation" not in printed(Report({}, result).tables())
    assert "Gain" not in printed(Report({}, measure(compared(), photos, PLAIN)).tables())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_model_is_measured_in_its_own_precision(photos: list[Path], precision: str) -> None:
    used = set()

    def run(lr: np.ndarray, precision: str) -> np.ndarray:
        used.add(precision)
        return np.repeat(np.repeat(lr, 4, axis=2), 4, axis=3)

    choice = Choice("torch", "cuda", precision, "as asked")
    limits = Limits(precision=precision)
    model = Model("own", nn.Identity(), 4, run=run, choice=choice, limits=limits)
    report = srkit.bench(model, data=photos[0].parent)
    assert used == {precision}
    assert report.quality
    assert f"torch {precision}" in json.dumps(report.as_json())


def test_a_precision_that_does_not_exist_is_refused(photos: list[Path]) -> None:
    with pytest.raises(OptionError, match="precision is one of auto, fp32, fp16, bf16, not 'fp8'"):
        srkit.bench("faces", data=photos[0].parent, precision="fp8")
