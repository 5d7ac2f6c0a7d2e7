"""The referee: its figures against other implementations', its protocol, and its refusals."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

import srkit
from srkit import InputError, Model, OptionError, Person, images, registry
from srkit.bench import identity, quality
from srkit.bench.identity import Identity, draw, verify
from srkit.bench.protocol import Protocol, fingerprint, hr_pictures
from srkit.bench.quality import measure
from srkit.bench.report import Report
from srkit.bench.statistics import interval
from srkit.cli import main

Crops = Callable[[Path, int, int], list[Path]]


def nearest_neighbour() -> Model:
    class Nearest(nn.Module):
        receptive_radius = 0

        def forward(self, lr: Tensor) -> Tensor:
            return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)

    return Model("nearest", Nearest(), 4)


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(report.tables())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# --- quality ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faces40(data_root: Path) -> Report:
    """Quality of nearest neighbour on the first 40 of CelebA's test split."""
    return srkit.bench([nearest_neighbour()], data=data_root / "celeba", limit=40, device="cpu")


def test_bicubics_column_is_what_pillow_and_scikit_image_say(
    faces40: Report, data_root: Path
) -> None:
    assert faces40.quality is not None
    files = images.listed(data_root / "celeba" / "test")[:40]
    hr = hr_pictures(files, Protocol())
    lr = images.to_uint8(Protocol().degrade(hr)).permute(0, 2, 3, 1).numpy()
    found = faces40.quality.scores["bicubic"]
    assert faces40.quality.pictures == [file.name for file in files]
    bicubic = Image.Resampling.BICUBIC
    for number, file in enumerate(files):
        with Image.open(file) as photo:
            high = np.asarray(photo.convert("RGB").resize((64, 64), bicubic))
        # Pillow rounds to 8 bits between its two passes, torch once at the end.
        sr = np.asarray(Image.fromarray(lr[number]).resize((64, 64), bicubic))
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
        assert found["psnr"][number] == pytest.approx(psnr, abs=0.03)
        assert found["ssim"][number] == pytest.approx(ssim, abs=0.002)


def test_the_protocols_degradation_is_what_it_says(data_root: Path) -> None:
    files = images.listed(data_root / "celeba" / "test")[:40]
    hr = hr_pictures(files, Protocol())
    assert torch.equal(hr, images.to_uint8(hr).float() / 255)
    clean = nn.functional.interpolate(
        hr, size=(16, 16), mode="bicubic", antialias=True, align_corners=False
    )
    lr = Protocol().degrade(hr)
    noise = lr - clean
    assert noise.mean().item() == pytest.approx(0, abs=5e-4)
    inside = (clean > 0.1) & (clean < 0.9)
    assert noise[inside].std().item() == pytest.approx(0.02, abs=5e-4)
    assert torch.equal(lr, images.to_uint8(lr).float() / 255)


def test_bicubic_gains_nothing_over_itself_and_nearest_loses(faces40: Report) -> None:
    assert faces40.quality is not None
    assert faces40.quality.gain("bicubic", "psnr") == (0, 0, 0)
    mean, low, high = faces40.quality.gain("nearest", "psnr")
    assert low < mean < high < 0
    assert mean == pytest.approx(
        faces40.quality.mean("nearest", "psnr") - faces40.quality.mean("bicubic", "psnr")
    )


def test_the_report_survives_json_and_states_its_protocol(faces40: Report, tmp_path: Path) -> None:
    faces40.write(tmp_path / "deep" / "report.json")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.json"]
    written = json.loads((tmp_path / "deep" / "report.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(faces40.as_json()))
    protocol = written["quality"]["protocol"]
    for key in ("framing", "size", "scale", "degradation", "options", "seed", "scores"):
        assert key in protocol
    assert protocol["framing"] == "squash"
    assert (protocol["size"], protocol["scale"], protocol["files"]) == (64, 4, 40)
    assert len(protocol["fingerprint"]) == 16
    assert protocol["versions"]["srkit"] == srkit.__version__
    assert {"srkit", "torch", "python"} <= protocol["versions"].keys()
    columns = written["quality"]["columns"]
    assert list(columns) == ["bicubic", "nearest"]
    for metric in quality.METRICS:
        its = columns["nearest"][metric]
        assert its["mean"] == pytest.approx(sum(its["each"]) / 40)
        assert len(its["gain_95"]) == 2
    assert written["models"] == {"nearest": None}


def test_the_table_shows_every_model_and_the_protocol(faces40: Report) -> None:
    text = printed(faces40)
    assert faces40.quality is not None
    assert "Quality on 40 pictures" in text
    for column in ("bicubic", "nearest"):
        row = next(line for line in text.splitlines() if column in line)
        assert f"{faces40.quality.mean(column, 'psnr'):.2f}" in row
        assert f"{faces40.quality.mean(column, 'ssim-y'):.4f}" in row
    for said in ("framing squash", "size 64", "degradation faces-x4", "seed 0", "fingerprint"):
        assert said in " ".join(text.split())


@pytest.fixture(scope="module")
def photos(crops: Crops, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return crops(tmp_path_factory.mktemp("bench") / "photos", 9, 64)


def test_noise_goes_by_position_and_seed(photos: list[Path]) -> None:
    def scored(files: list[Path], seed: int = 0) -> list[float]:
        return measure([], files, Protocol(seed=seed)).scores["bicubic"]["psnr"]

    first = scored(photos)
    assert scored(photos) == first
    assert scored(photos[:4]) == first[:4]
    turned = scored(photos[::-1])
    assert turned[::-1] != first
    assert turned[4] == first[4]  # the middle one keeps its place
    assert scored(photos, seed=1) != first


def test_the_batch_size_changes_nothing(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores() -> dict[str, dict[str, list[float]]]:
        return measure([nearest_neighbour()], photos, Protocol()).scores

    whole = scores()
    monkeypatch.setattr(quality, "BATCH", 2)
    assert scores() == whole


def test_framing_decides_what_is_seen(tmp_path: Path) -> None:
    wide = np.zeros((60, 100, 3), dtype=np.uint8)
    wide[:, :20] = wide[:, 80:] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    squashed = hr_pictures([tmp_path / "wide.png"], Protocol(framing="squash"))
    square = hr_pictures([tmp_path / "wide.png"], Protocol(framing="square"))
    assert squashed.shape == square.shape == (1, 3, 64, 64)
    assert squashed.mean() > 0.35
    assert square.mean() < 0.01


def test_a_perfect_result_is_infinite_and_still_a_report(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "flat.png")

    class Flat(nn.Module):
        receptive_radius = 0

        def forward(self, lr: Tensor) -> Tensor:
            return torch.full((len(lr), 3, 64, 64), 128 / 255)

    report = srkit.bench([Model("perfect", Flat(), 4)], data=tmp_path, device="cpu")
    assert report.quality is not None
    assert report.quality.mean("perfect", "psnr") == math.inf
    report.write(tmp_path / "report.json")
    its = json.loads((tmp_path / "report.json").read_text())["quality"]["columns"]["perfect"]
    assert its["psnr"]["mean"] == "inf"
    assert its["psnr"]["each"] == ["inf"]
    assert "inf" in printed(report)


def test_the_fingerprint_is_of_names_and_bytes_in_order(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path / "one", 3, 16)
    first = fingerprint(files)
    other = [Path(shutil.copy(file, tmp_path)) for file in files]
    assert fingerprint(other) == first
    assert fingerprint(other[::-1]) != first
    assert fingerprint(other[:2]) != first
    other[0].write_bytes(other[0].read_bytes() + b" ")
    assert fingerprint(other) != first
    renamed = other[1].rename(tmp_path / "renamed.png")
    assert fingerprint([files[0], renamed, files[2]]) != first


def test_a_model_of_another_scale_is_refused(photos: list[Path]) -> None:
    double = Model("double", registry.build("generators", "bicubic", scale=2), 2)
    with pytest.raises(InputError, match="'double' enlarges by 2, the protocol by 4"):
        srkit.bench([double], data=photos[0].parent, device="cpu")


def test_a_broken_picture_stops_the_bench_and_is_named(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path, 3, 32)
    (tmp_path / "000002.png").write_text("a note under a picture's name")
    with pytest.raises(InputError, match=r"000002\.png: not a readable picture"):
        srkit.bench(["bicubic"], data=tmp_path, device="cpu")


def test_the_test_split_is_taken_where_there_is_one(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "train", 3, 32)
    crops(tmp_path / "test", 2, 32)
    report = srkit.bench(["bicubic"], data=tmp_path, device="cpu")
    assert report.quality is not None
    assert len(report.quality.pictures) == 2


def test_a_data_set_is_found_by_name(
    tmp_path: Path, crops: Crops, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops(tmp_path / "cats", 2, 32)
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    report = srkit.bench(["bicubic"], data="cats", limit=1, device="cpu")
    assert report.quality is not None
    assert report.quality.pictures == ["000001.png"]


def test_without_a_model_the_default_is_measured(photos: list[Path]) -> None:
    report = srkit.bench(data=photos[0].parent, device="cpu")
    assert report.quality is not None
    assert list(report.quality.scores) == ["bicubic", "faces"]
    assert report.models["faces"] == registry.build("models", "faces").sha256


@pytest.mark.parametrize("metric", quality.METRICS)
def test_pictures_of_other_sizes_are_brought_to_the_protocols(tmp_path: Path, metric: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (7, 3, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "tiny.png")
    Image.fromarray(noise[..., 0]).save(tmp_path / "grey.png")
    report = srkit.bench(["bicubic"], data=tmp_path, device="cpu")
    assert report.quality is not None
    assert all(math.isfinite(score) for score in report.quality.scores["bicubic"][metric])


# --- statistics ---------------------------------------------------------------------------------


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=40))
def test_an_interval_lies_within_the_values(values: list[float]) -> None:
    low, high = interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_an_interval_covers_the_mean_and_narrows_with_more_values() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for count in (10, 100, 1000):
        values = rng.normal(5, 2, count)
        low, high = interval(values)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(2 * 1.96 * 2 / math.sqrt(1000), rel=0.15)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    ends = [interval(rng.normal(0, 1, 60)) for _ in range(200)]
    covered = sum(low <= 0 <= high for low, high in ends) / len(ends)
    assert 0.88 <= covered <= 0.99


def test_intervals_by_groups_are_wider_where_values_hang_together() -> None:
    rng = np.random.default_rng(4)
    people = np.repeat(np.arange(20), 10)
    values = rng.normal(0, 1, 20)[people] + rng.normal(0, 0.1, 200)
    alone, together = interval(values), interval(values, people)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    named = interval(values, [f"person {number:02d}" for number in people])
    assert named == together


def test_intervals_are_the_same_every_time_and_of_one_value_a_point() -> None:
    values = np.random.default_rng(5).normal(0, 1, 50)
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values, seed=2)
    assert interval([3.0]) == (3, 3)
    assert interval([1.0, math.inf]) == (math.inf, math.inf)


# --- identity -----------------------------------------------------------------------------------


class Colours(nn.Module):
    """Tells people apart by their mean colours; stands in where FaceNet's weights aren't there."""

    name = "colours"
    sha256 = "0" * 64

    def forward(self, faces: Tensor) -> Tensor:
        coarse = nn.functional.adaptive_avg_pool2d(faces, 4).flatten(1)
        return nn.functional.normalize(coarse, dim=1)


@pytest.fixture(scope="module")
def weights(data_root: Path) -> Path:
    return data_root / "weights" / "facenet-casia-webface.pt"


@pytest.fixture(scope="module")
def imm(data_root: Path) -> list[Person]:
    """All twelve people, the first three photos of each."""
    found = registry.build("face_sets", "imm", root=data_root / "imm-frontal")
    return [Person(person.name, person.photos[:3]) for person in found]


@pytest.fixture(scope="module")
def verified(imm: list[Person], weights: Path) -> Identity:
    judge = registry.build("embedders", "facenet", weights=str(weights))
    return verify([nearest_neighbour()], imm, judge, Protocol(framing="mtcnn"))


def test_distances_on_real_faces_are_what_another_implementation_measured(
    verified: Identity,
) -> None:
    assert verified.no_face == []
    assert verified.left_out == []
    assert verified.mean("HR") == pytest.approx(0.237, abs=0.01)
    assert verified.mean("bicubic") == pytest.approx(1.224, abs=0.05)
    assert verified.mean("nearest") > verified.mean("HR") + 0.5


def test_there_is_a_row_a_person_and_probe(verified: Identity, imm: list[Person]) -> None:
    assert verified.columns == ["bicubic", "nearest", "HR"]
    expected = [(p.name, p.photos[0].name, photo.name) for p in imm for photo in p.photos[1:]]
    assert [(row.person, row.base, row.photo) for row in verified.rows] == expected
    for row in verified.rows:
        assert list(row.distances) == verified.columns
        assert all(0 <= distance <= 2 for distance in row.distances.values())
    for column in verified.columns:
        low, high = verified.interval(column)
        assert low < verified.mean(column) < high


def test_the_identity_report_states_its_protocol(
    verified: Identity, weights: Path, tmp_path: Path
) -> None:
    Report({"nearest": None}, None, verified).write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["quality"] is None
    its = written["identity"]
    assert its == json.loads(json.dumps(verified.as_json()))
    protocol = its["protocol"]
    assert protocol["embedder"] == "facenet (facenet-casia-webface)"
    assert protocol["embedder_sha256"] == srkit.files.sha256(weights)
    assert protocol["distance"] == "L2 between unit embeddings"
    assert "MTCNN" in protocol["alignment"]
    assert (protocol["framing"], protocol["people"], protocol["files"]) == ("mtcnn", 12, 36)
    assert {"size", "scale", "degradation", "seed", "fingerprint", "versions"} <= protocol.keys()
    assert len(its["rows"]) == 24
    assert its["columns"]["HR"]["mean"] == pytest.approx(verified.mean("HR"))


def test_the_identity_table_is_the_papers_table(verified: Identity) -> None:
    text = printed(Report({"nearest": None}, None, verified))
    heading = next(line for line in text.splitlines() if "person" in line)
    order = [heading.index(word) for word in ("person", "image", "bicubic", "nearest", "HR")]
    assert order == sorted(order)
    for row in verified.rows:
        assert row.photo in text
        assert f"{row.distances['HR']:.4f}" in text
    mean = next(line for line in text.splitlines() if "mean" in line)
    assert f"{verified.mean('bicubic'):.4f}" in mean


def imm_named(data_root: Path, folder: Path) -> Path:
    """Two people's photos under the names of the IMM Face Database."""
    folder.mkdir()
    for person, sex in (("01", "m"), ("02", "f")):
        for number in (1, 2, 3):
            source = data_root / "imm-frontal" / f"{person}_{number:02d}.jpg"
            shutil.copy(source, folder / f"{person}-{number}{sex}.jpg")
    return folder


def test_both_imm_layouts_give_the_same_distances(
    data_root: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = imm_named(data_root, tmp_path / "imm")
    frontal = tmp_path / "frontal"
    frontal.mkdir()
    for file in named.iterdir():
        person, number = file.stem[:2], int(file.stem[3])
        shutil.copy(file, frontal / f"{person}_{number:02d}.jpg")

    def distances(folder: Path | None) -> list[float]:
        report = srkit.bench(
            ["bicubic"],
            verify="imm",
            verify_data=folder,
            embedder_weights=weights,
            people=0,
            device="cpu",
        )
        assert report.quality is None
        assert report.identity is not None
        assert len(report.identity.rows) == 4
        return [row.distances["HR"] for row in report.identity.rows]

    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path / "frontal")
    assert distances(frontal) == pytest.approx(distances(named))
    assert distances(None) == distances(named)  # found as `imm` under SRKIT_DATA


def test_the_verb_prints_the_distances(
    data_root: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = imm_named(data_root, tmp_path / "imm")
    status = main(
        [
            *("bench", "bicubic", "--verify", "imm", "--verify-data", str(named)),
            *("--people", "1", "--embedder-weights", str(weights), "--device", "cpu"),
            *("--json", str(tmp_path / "report.json")),
        ]
    )
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    assert "facenet (facenet-casia-webface)" in captured.out
    written = json.loads((tmp_path / "report.json").read_text())
    assert len(written["identity"]["rows"]) == 2


def test_a_photo_without_a_face_is_reported_and_counted(data_root: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    photos = [data_root / "imm-frontal" / f"01_0{number}.jpg" for number in (1, 2)]
    people = [
        Person("whole", tuple(photos)),
        Person("one blank", (*photos, tmp_path / "noise.png")),
        Person("blank base", (tmp_path / "noise.png", *photos)),
        Person("lone", (photos[0],)),
        Person("left blank", (photos[0], tmp_path / "noise.png")),
    ]
    found = verify([], people, Colours(), Protocol(framing="mtcnn"))
    assert found.no_face == [
        "one blank/noise.png",
        "blank base/noise.png",
        "left blank/noise.png",
    ]
    assert found.left_out == ["blank base", "lone", "left blank"]
    assert [row.person for row in found.rows] == ["whole", "one blank"]
    assert found.columns == ["bicubic", "HR"]
    text = " ".join(printed(Report({}, None, found)).split())  # however it is wrapped
    assert "no face found in 3 photos" in text
    assert "left out: blank base, lone, left blank" in text
    assert found.as_json()["no_face"] == found.no_face


def test_when_nobody_has_two_faces_there_is_nothing_to_say(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    people = [Person("nobody", (tmp_path / "noise.png",) * 2)]
    said = r"no person has a base and another photo with a face \(1 people, 2 photos"
    with pytest.raises(InputError, match=said):
        verify([], people, Colours(), Protocol(framing="mtcnn"))


def somebody(count: int, photos: int) -> list[Person]:
    return [
        Person(f"{n:02d}", tuple(Path(f"{n:02d}_{i}.jpg") for i in range(photos)))
        for n in range(count)
    ]


def test_the_draw_is_seeded() -> None:
    people = somebody(40, 6)
    drawn = draw(people, 5, 0)
    assert draw(people, 5, 0) == drawn
    assert any(draw(people, 5, seed) != drawn for seed in (1, 2))
    assert len(drawn) == len({person.name for person in drawn}) == 5
    for person in drawn:
        assert len(set(person.photos)) == identity.PHOTOS
        assert all(photo.name.startswith(person.name) for photo in person.photos)


def test_all_are_drawn_where_none_are_to_be_left_out() -> None:
    people = somebody(4, 2)
    for count in (0, 4, 9):
        drawn = draw(people, count, 0)
        assert [person.name for person in drawn] == ["00", "01", "02", "03"]
        assert all(len(person.photos) == 2 for person in drawn)


def test_an_unknown_embedder_option_is_refused(tmp_path: Path) -> None:
    (tmp_path / "01_01.jpg").touch()
    given: dict[str, Any] = {"verify": "imm", "verify_data": tmp_path, "device": "cpu"}
    with pytest.raises(srkit.SrkitError, match="unknown embedder 'arcface'"):
        srkit.bench(["bicubic"], embedder="arcface", **given)
    with pytest.raises(OptionError, match="no option 'wights'"):
        registry.build("embedders", "facenet", wights="x")


def test_one_model_may_be_given_by_itself_and_names_may_not_collide(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(file)
    report = srkit.bench("faces", data=tmp_path, device="cpu")
    assert report.quality is not None
    assert list(report.quality.scores) == ["bicubic", "faces"]
    with pytest.raises(InputError, match="two columns would be called 'faces'"):
        srkit.bench(["faces", "faces"], data=tmp_path, device="cpu")


def test_the_protocol_states_the_degradations_defaults() -> None:
    stamp = Protocol().stamp([])
    assert stamp["options"] == {"kernel": "bicubic", "noise": 0.02, "blur": 0.0, "quantise": True}
    assert stamp["provider"] == f"srkit {srkit.__version__}"
    assert {"torch", "kornia", "pillow", "scikit-image", "numpy"} <= stamp["versions"].keys()
