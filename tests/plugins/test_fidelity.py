"""Fidelity to the person: what the scores are, on what they rest, and where there are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from srkit_compare.comparison import ProtocolMismatch, compare
from srkit_fidelity import srkit_metrics
from srkit_fidelity.metrics import CROP, MEMORY, Ids, LandmarkError, Memory
from torch import Tensor, nn
from torch.nn.functional import normalize

import srkit
from srkit import registry
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Report
from srkit.evaluation.report_tables import exact_notes
from srkit.faces import align
from srkit.imaging import codec


class Tints(nn.Module):
    """An embedder by the mean colours of four quarters."""

    name, sha256 = "tints", "7" * 64

    def __init__(self, *, weights: str = "") -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, faces: Tensor) -> Tensor:
        self.shown.append(faces)
        return normalize(nn.functional.adaptive_avg_pool2d(faces, 2).flatten(1) - 0.4, dim=1)


@pytest.fixture
def tints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srkit_facenet.embedder.FaceNet", Tints)


def framed(faces: Tensor) -> Tensor:
    """Return crops of faces within larger images."""
    return nn.functional.pad(faces, (20, 40, 30, 10), value=0.3)


def blurred(images: Tensor, pixels: int) -> Tensor:
    return nn.functional.avg_pool2d(images, pixels, 1, pixels // 2, count_include_pad=False)


@pytest.fixture
def photos(faces: Tensor) -> Tensor:
    return framed(faces[:4])


@pytest.mark.usefixtures("tints")
def test_ids_is_the_cosine_of_embeddings_of_hrs_crop(photos: Tensor) -> None:
    sr = blurred(photos, 9).roll(9, 3)
    scores = Ids()(sr, photos)
    detector = align.detector()
    for score, ours, theirs in zip(scores, sr, photos, strict=True):
        a, b = codec.to_image(ours), codec.to_image(theirs)
        size = round(b.width * CROP / min(b.size)), round(b.height * CROP / min(b.size))
        (face, *_) = detector.faces(b.resize(size, Image.Resampling.BICUBIC))
        box = np.array(face.box) * np.array([b.width / size[0], b.height / size[1]] * 2)
        both = (align.crop(i, align.Face(tuple(box), 1.0), CROP) for i in (a, b))
        one, other = (Tints()(codec.to_tensor(crop))[0] for crop in both)
        assert float(score) == pytest.approx(float(one @ other), abs=1e-5)
    angles = registry.build("metrics", "deg")(sr, photos)
    assert torch.allclose(angles, scores.arccos().rad2deg(), atol=1e-2)
    assert (scores < 0.999).all()


def test_every_judge_has_its_own(photos: Tensor) -> None:
    """Against the embedders as they are, on the crops that the metric makes of hr."""
    photos = photos[::3]  # of two people
    sr = blurred(photos, 7)
    for judge in ("dlib", "sface"):
        metric = registry.build("metrics", f"ids-{judge}")
        embedder = registry.build("embedders", judge)
        crops = metric.finder.crops(sr, photos)
        stacks = [
            torch.cat([codec.to_tensor(Image.fromarray(c[n])) for c in crops]) for n in (0, 1)
        ]
        expected = (embedder(stacks[0]) * embedder(stacks[1])).sum(dim=1)
        assert torch.allclose(metric(sr, photos), expected, atol=1e-5)
        assert metric.name.startswith(embedder.name)
        assert "face of hr by MTCNN" in metric.name
        assert metric.sha256 == embedder.sha256
        assert judge in metric.title
        same = metric(photos, photos)
        assert torch.allclose(same, torch.ones(2), atol=1e-6)
        angle = registry.build("metrics", f"deg-{judge}")(photos, photos)
        assert (angle < 0.1).all()
        # Another person is far off.
        assert (metric(photos.flip(0), photos) < expected).all()


def test_landmarks_that_are_moved_are_so_far_off(photos: Tensor) -> None:
    metric, photos = LandmarkError(), photos[::3]
    assert torch.equal(metric(photos, photos), torch.zeros(2))
    for shift in (2, 4):
        moved = metric(photos.roll(shift, 3), photos)
        assert torch.allclose(moved, torch.full((2,), float(shift)), atol=0.8)
    # It isn't divided by the face's size: twice the pixels, twice the distance.
    larger = nn.functional.interpolate(photos, scale_factor=2, mode="bicubic").clamp(0, 1)
    twice = metric(larger.roll(8, 3), larger)
    assert torch.allclose(twice, torch.full((2,), 8.0), atol=1.6)


def test_without_a_face_there_is_no_score(photos: Tensor) -> None:
    flat = torch.full_like(photos[:1], 0.5)
    hr = torch.cat([photos, flat])
    sr = torch.cat([photos[:3], flat, flat])
    landmarks = LandmarkError()(sr, hr)
    assert landmarks.isnan().tolist() == [False, False, False, True, True]
    likeness = registry.build("metrics", "ids-sface")(sr, hr)
    assert likeness.isnan().tolist() == [False] * 4 + [True]
    with pytest.raises(ValueError, match="differ in shape"):
        LandmarkError()(sr[..., 1:], hr)


@pytest.mark.usefixtures("tints")
def test_each_image_is_searched_and_each_crop_embedded_once(
    photos: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, deg, landmarks = (registry.build("metrics", n) for n in ("ids", "deg", "landmark-error"))
    assert ids.judge is deg.judge
    assert ids.finder is landmarks.finder
    photos = photos * 0.97  # no test before this one has shown them
    searched: list[Image.Image] = []
    faces = ids.finder.on_images.faces

    def counted(image: Image.Image) -> list[align.Face]:
        searched.append(image)
        return faces(image)

    monkeypatch.setattr(ids.finder.on_images, "faces", counted)
    for sr in (photos, blurred(photos, 3), blurred(photos, 5)):
        for metric in (ids, deg, landmarks):
            metric(sr, photos)
    assert len(searched) == 4
    assert sum(map(len, ids.embedder.shown)) == 4 * 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srkit_fidelity.metrics.MEMORY", 3)
    memory, computed = Memory(), list[int]()

    def value(new: list[Any]) -> list[int]:
        computed.extend(int(image[0, 0, 0]) for image in new)
        return [int(image[0, 0, 0]) for image in new]

    images = [np.full((1, 1, 3), n, np.uint8) for n in range(5)]
    assert memory(images[:2] + images[:1], value) == [0, 1, 0]
    assert memory(images[1:4], value) == [1, 2, 3]
    assert computed == [0, 1, 1, 2, 3]
    assert memory(images, value) == list(range(5))
    assert MEMORY > 3


@pytest.mark.usefixtures("tints")
def test_a_bench_counts_what_has_no_face_and_says_by_whom(
    faces: Tensor, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, face in enumerate(faces):
        codec.to_image(framed(face[None])).resize((192, 192)).save(folder / f"{number}.png")
    Image.new("RGB", (192, 192), (120, 130, 140)).save(folder / "flat.png")
    protocol = tmp_path / "large.toml"
    protocol.write_text('framing = "squash"\nsize = 128\nmetrics = ["ids", "landmark-error"]\n')
    file = tmp_path / "report.json"
    where = ("bench", "faces", "--data", folder, "--protocol", protocol, "--json", file)
    status, out, _ = cli(*map(str, where))
    assert status == 0
    text = " ".join(out.split())
    assert "ids: without 1 of 7 images, no face is found in hr: flat.png" in text
    assert "landmark-error: without" in text
    quality = Report.read(file).quality
    assert quality is not None
    assert all(math.isnan(s["ids"][6]) for s in quality.scores.values())
    assert all(map(math.isfinite, quality.scores["faces"]["ids"][:6]))
    assert len(quality.counted("faces", "ids")) == 6
    about = quality.metrics["ids"]
    assert about["embedder"] == {"name": "tints", "sha256": "7" * 64}
    assert about["name"].startswith("tints; face of hr by MTCNN")
    assert about["missing"] == "no face is found in hr"
    # Another judge's numbers aren't put beside these.
    other = Report.read(file)
    assert other.quality is not None
    other.quality.metrics["ids"]["sha256"] = "8" * 64
    with pytest.raises(ProtocolMismatch, match=r"quality, ids: by tints; .* \(77777777\) and"):
        compare(Report.read(file), other)


@pytest.mark.usefixtures("tints")
def test_a_model_trained_on_the_judge_is_warned_of(tmp_path: Path, faces: Tensor) -> None:
    for number, face in enumerate(faces[:2]):
        codec.to_image(face).resize((64, 64)).save(tmp_path / f"{number}.png")
    model = srkit.load("faces", device="cpu")
    about = {"embedders": {"identity": {"name": "tints", "sha256": "7" * 64}}}
    model = replace(model, metadata={**model.metadata, **about})
    chosen = Protocol().with_metrics(["ids", "deg"])
    report = srkit.bench([model], data=tmp_path, protocol=chosen, device="cpu")
    (line,) = [line for line in report.warnings if "trained with a loss on tints" in line]
    assert "which measures it here" in line


def test_a_method_that_mostly_has_none_takes_none_from_the_others() -> None:
    from reports import quality

    measured = quality({"x": 1.0, "y": 2.0}, count=10)
    measured.metrics["ssim"]["missing"] = "no face is found"
    for method, count in (("nearest", 8), ("x", 2)):
        measured.scores[method]["ssim"][:count] = [math.nan] * count
    again = type(measured)(**{**vars(measured), "exact": {}})
    assert again.exact == {"ssim": [0, 1]}
    assert math.isnan(again.mean("nearest", "ssim"))
    assert len(again.counted("y", "ssim")) == 8
    assert all(map(math.isnan, again.gain("nearest", "ssim")))
    assert math.isfinite(again.gain("y", "ssim")[0])
    text = "\n".join(note for table in Report({}, again).tables() for note in table.notes)
    assert "no face is found (nearest 8, so no mean; bicubic 0; lanczos 0; x 2; y 0)" in text
    assert "ssim: without 2 of 10 images" in text
    # Those who have no mean are named where the others have every image, too.
    measured.scores["x"]["ssim"][:2] = [0.5] * 2
    (note,) = exact_notes(type(measured)(**{**vars(measured), "exact": {}}))
    counts = "nearest 8, so no mean; bicubic 0; lanczos 0; x 0; y 0"
    assert note == f"ssim: no face is found ({counts})"
    for scores in measured.scores.values():
        scores["ssim"][:] = [math.nan] * 10
    (note,) = exact_notes(type(measured)(**{**vars(measured), "exact": {}}))
    assert note.count("10, so no mean") == 5


def test_the_plugin_names_them() -> None:
    judges = {f"{what}-{judge}" for what in ("ids", "deg") for judge in ("dlib", "sface")}
    assert set(srkit_metrics()) == {"ids", "deg", "landmark-error", *judges}


def test_imm_as_it_is_found_and_people_with_one_photo(
    data_root: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    """Bitmaps and JPEGs of 640x480 with their landmarks' files beside, two people alone."""
    folder = tmp_path / "imm"
    folder.mkdir()
    for person, count in ((1, 3), (2, 2), (5, 1), (7, 1)):
        for number in range(1, count + 1):
            photo = Image.open(data_root / "imm-frontal" / f"{person:02d}_{number:02d}.jpg")
            stem = f"{person:02d}-{number}{'f' if person == 5 else 'm'}"
            suffix = "bmp" if number % 2 else "jpg"
            photo.resize((640, 480)).save(folder / f"{stem}.{suffix}")
            (folder / f"{stem}.asf").write_text(f"# AAM\n58\n{stem}.{suffix}\n")
    protocol = tmp_path / "large.toml"
    protocol.write_text('framing = "square"\nsize = 256\nmetrics = ["psnr", "landmark-error"]\n')
    file = tmp_path / "report.json"
    where = ("bench", "faces", "--data", folder, "--protocol", protocol, "--json", file)
    status, out, err = cli(
        *map(str, where), "--verify", "imm", "--verify-data", str(folder), "--embedder", "dlib"
    )
    assert status == 0
    assert "warning" not in err
    report = Report.read(file)
    assert report.quality is not None
    names = sorted(f.name for f in folder.iterdir() if f.suffix != ".asf")
    assert report.quality.images == names
    assert len(names) == 7
    assert len(report.quality.counted("faces", "landmark-error")) >= 6
    assert report.quality.mean("faces", "landmark-error") < 8
    assert report.everybody is not None
    assert report.everybody.people == 2
    assert report.everybody.left_out == ["05 (one photo)", "07 (one photo)"]
    assert report.everybody.no_face == []
    assert len(report.everybody.rows) == 2 + 1
    assert "people left out, 2: 05 (one photo), 07 (one photo)" in " ".join(out.split())
