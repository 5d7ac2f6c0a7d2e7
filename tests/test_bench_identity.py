"""Face verification: its figures against scikit-learn's and by hand, and what can't matter."""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor, nn

from srkit import InputError, Model, Person, load, registry
from srkit.evaluation import run as runner
from srkit.evaluation.identity.distances import distances
from srkit.evaluation.identity.embed import TOLERANCE, Embeddings, Verifier
from srkit.evaluation.identity.faces import Finder, Located
from srkit.evaluation.identity.pairs import pairs
from srkit.evaluation.identity.people import Drawn, draw, draw_pairs, without_copies
from srkit.evaluation.identity.roc import Matching
from srkit.evaluation.methods import Method, lr_key, methods
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Distances, Pairs, Report, Row
from srkit.evaluation.statistics import UNKNOWN, Estimate, share, weights
from srkit.evaluation.store import Store
from srkit.faces import align
from srkit.imaging import codec

PROTOCOL = Protocol.named("paper").for_faces()


class Colours(nn.Module):
    """Tells people apart by their colours; stands in where FaceNet's weights aren't there."""

    name = "colours"

    def __init__(self, sha256: str = "0" * 64, dies_after: int = 1 << 30) -> None:
        super().__init__()
        self.sha256, self.dies_after = sha256, dies_after
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(self.batches) == self.dies_after:
            raise KeyboardInterrupt
        self.batches.append(len(images))
        coarse = nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
        return nn.functional.normalize(coarse - 0.45, dim=1)


def blurred(lr: Tensor) -> Tensor:
    return nn.functional.interpolate(lr, scale_factor=4, mode="bilinear").clamp(0, 1)


def compared(*others: Method | Model) -> list[Method]:
    return [c for c in methods(others, PROTOCOL) if c.name not in ("nearest", "lanczos")]


METHODS = compared(Method("blurred", blurred))


def verifier(store: Store, methods: list[Method] = METHODS, by: Any = None, **how: Any) -> Verifier:
    return Verifier(methods, by or Colours(), PROTOCOL, store, **how)


def photograph(file: Path, person: int, photo: int) -> Path:
    """Write a portrait: the person is in its tint, the photo in how it is lit and cut."""
    rng = np.random.default_rng(person)
    tint = rng.uniform(0.6, 1.0, 3)
    scores = np.random.default_rng((person, photo))
    left, top = scores.integers(0, 16, 2)
    portrait = skimage.data.astronaut()[top : top + 220, 110 + left : 330 + left]
    lit = portrait * tint * scores.uniform(0.85, 1.0) + scores.normal(0, 6, portrait.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(lit.clip(0, 255).astype(np.uint8)).resize((112, 112)).save(file)
    return file


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Person]:
    """Eight people, two to four photos each."""
    root = tmp_path_factory.mktemp("people")
    return [
        Person(
            f"p{person}",
            tuple(photograph(root / f"p{person}" / f"{n}.png", person, n) for n in range(1, count)),
        )
        for person, count in enumerate((5, 3, 4, 3, 5, 3, 4, 3), 1)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """What all tests of this file share, so that no photo is searched twice."""
    return Store(tmp_path_factory.mktemp("store") / "kept.sqlite")


@pytest.fixture(scope="module")
def measured(people: list[Person], store: Store) -> Distances:
    return distances(verifier(store), people)


@pytest.fixture(scope="module")
def paired(people: list[Person], store: Store) -> Pairs:
    return pairs(verifier(store), people, count=11, lr_sizes=(8, 16))


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


# --- distances ----------------------------------------------------------------------------------


def test_there_is_a_row_a_person_and_probe(measured: Distances, people: list[Person]) -> None:
    assert measured.methods == ["LR", "bicubic", "blurred", "HR"]
    expected = [(p.name, p.photos[0].name, photo.name) for p in people for photo in p.photos[1:]]
    assert [(row.person, row.base, row.photo) for row in measured.rows] == expected
    assert (measured.people, measured.no_face, measured.left_out) == (8, [], [])
    for row in measured.rows:
        assert list(row.distances) == measured.methods
        assert all(0 <= distance <= 2 for distance in row.distances.values())
    assert measured.mean("HR") < measured.mean("bicubic")


def test_a_distance_is_what_it_is_by_hand(measured: Distances, people: list[Person]) -> None:
    detector = align.detector()

    def cropped(photo: Path) -> Tensor:
        image = Image.open(photo).convert("RGB")
        return codec.to_tensor(align.crop(image, detector.faces(image)[0], 64))

    base, hr = (cropped(photo) for photo in people[2].photos[:2])
    lr = PROTOCOL.degrade(hr)
    by = Colours()
    sr = blurred(lr).mul(255).round() / 255
    row = next(row for row in measured.rows if (row.person, row.photo) == ("p3", "2.png"))
    for method, image in {"LR": lr, "blurred": sr, "HR": hr}.items():
        expected = (by(image) - by(base)).norm().item()
        assert row.distances[method] == pytest.approx(expected, abs=1e-5)


def made_up(rows: Sequence[tuple[str, float, float, float]]) -> Distances:
    made = [
        Row(name, "1", "2", {"LR": floor, "bicubic": middle, "HR": ceiling})
        for name, floor, middle, ceiling in rows
    ]
    return Distances(protocol={}, rows=made, people=len({row[0] for row in rows}))


def test_the_gap_closed_is_a_ratio_of_means_with_people_drawn_anew() -> None:
    result = made_up([("a", 1.4, 1.0, 0.2), ("a", 1.2, 1.1, 0.4), ("b", 1.0, 0.4, 0.3)])
    closed = result.closed("bicubic")
    assert closed.value == pytest.approx((3.6 - 2.5) / (3.6 - 0.9))
    # Only one of the two, or both: no draw lies beyond those.
    alone = [(2.6 - 2.1) / (2.6 - 0.6), (1.0 - 0.4) / (1.0 - 0.3)]
    assert [closed.low, closed.high] == pytest.approx(alone)
    assert vars(result.closed("LR")) == {"value": 0, "low": 0, "high": 0}
    assert vars(result.closed("HR")) == {"value": 1, "low": 1, "high": 1}
    assert result.ratio("HR") == pytest.approx(0.9 / 2.5)


def test_the_order_of_rows_moves_no_interval() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{n % 7}", *sorted(rng.uniform(0.2, 1.4, 3), reverse=True)) for n in range(20)]
    one, other = made_up(rows), made_up(rows[::-1])
    assert vars(one.closed("bicubic")) == pytest.approx(vars(other.closed("bicubic")), abs=1e-12)
    assert one.interval("bicubic") == pytest.approx(other.interval("bicubic"), abs=1e-12)


def test_where_lr_is_as_near_as_hr_there_is_no_gap_to_close() -> None:
    assert made_up([("a", 0.5, 0.6, 0.5), ("b", 0.5, 0.4, 0.5)]).closed("bicubic") == UNKNOWN


def test_what_is_lacking_is_reported_and_counted(
    people: list[Person], blank: Path, tmp_path: Path, store: Store
) -> None:
    a, b = people[0].photos[:2]
    torn = tmp_path / "torn.png"
    torn.write_bytes(a.read_bytes()[:2000])
    copy = Path(shutil.copy(torn, tmp_path / "copy.png"))
    given = [
        Person("whole", (a, b)),
        Person("one blank", (a, b, blank)),
        Person("blank base", (blank, a, b)),
        Person("lone", (a,)),
        Person("left blank", (a, blank)),
        Person("nobody", ()),
        Person("torn", (a, b, torn, copy, tmp_path / "gone.png")),
    ]
    result = distances(verifier(store), given)
    assert result.no_face[:3] == [
        f"{p}/noise.png" for p in ("one blank", "blank base", "left blank")
    ]
    assert result.no_face[3].startswith("torn/torn.png (not a readable image")
    assert result.no_face[4] == result.no_face[3].replace("torn.png", "copy.png")
    assert result.no_face[5] == "torn/gone.png (no such file)"
    assert result.left_out == [
        "blank base (no face in the base, noise.png)",
        "lone (one photo)",
        "left blank (no face in any other photo)",
        "nobody (no photo)",
    ]
    assert [row.person for row in result.rows] == ["whole", "one blank", "torn"]
    assert result.people == 3


def test_when_nobody_has_two_faces_there_is_nothing_to_say(blank: Path, store: Store) -> None:
    nobody = [Person("nobody", (blank, blank))]
    message = r"no person has a base and another photo with a face \(1 people, 2 photos"
    with pytest.raises(InputError, match=message):
        distances(verifier(store), nobody)
    with pytest.raises(InputError, match=r"pairs need two people.*there are 0 \(of 1 "):
        pairs(verifier(store), nobody)


def test_the_stamp_states_who_judged_whom_and_how(measured: Distances, paired: Pairs) -> None:
    for stamp in (measured.protocol, paired.protocol):
        assert (stamp["embedder"], stamp["embedder_sha256"]) == ("colours", "0" * 64)
        assert stamp["distance"] == "L2 between unit embeddings"
        assert "MTCNN box" in stamp["alignment"]
        assert (stamp["align"], stamp["framing"], stamp["seed"]) == ("hr", "face", 0)
    assert measured.protocol["files"] == 22
    assert paired.protocol["files"] == paired.photos == 8 + 11
    assert (paired.protocol["pairs"], paired.protocol["lr_sizes"]) == (11, [8, 16])


def test_other_roles_or_names_are_another_protocol(people: list[Person], store: Store) -> None:
    def roles(given: list[Person]) -> str:
        result = distances(verifier(store, METHODS[:1]), given)
        return str(result.protocol["roles"])

    some = people[:2]
    turned = [Person(p.name, p.photos[::-1]) for p in some]
    renamed = [Person(p.name + "x", p.photos) for p in some]
    assert len({roles(some), roles(turned), roles(renamed)}) == 3
    assert roles(some[::-1]) == roles(some)


# --- draws --------------------------------------------------------------------------------------


def somebody(count: int, photos: int) -> list[Person]:
    return [
        Person(f"{n}", tuple(Path(f"{n}_{i}.jpg") for i in range(photos))) for n in range(count)
    ]


def reversed_(people: list[Person]) -> list[Person]:
    return [Person(person.name, person.photos[::-1]) for person in people[::-1]]


def test_the_draw_is_seeded_and_blind_to_order() -> None:
    people = somebody(40, 6)
    drawn = draw(people, 5, 3, 0)
    assert draw(people, 5, 3, 0) == draw(reversed_(people), 5, 3, 0) == drawn
    assert any(draw(people, 5, 3, seed) != drawn for seed in (1, 2))
    assert len(drawn) == len({person.name for person in drawn}) == 5
    assert [person.name for person in drawn] == sorted((p.name for p in drawn), key=int)
    for person in drawn:
        assert len(set(person.photos)) == 3
        assert all(photo.name.startswith(f"{person.name}_") for photo in person.photos)


def test_people_with_too_few_photos_are_drawn_last() -> None:
    people = [*somebody(4, 3), Person("pair", (Path("a"), Path("b"))), Person("lone", (Path("c"),))]
    for seed in range(5):
        assert {person.name for person in draw(people, 4, 3, seed)} == set("0123")
    assert [person.name for person in draw(people, 9, 3, 0)] == ["0", "1", "2", "3", "pair"]
    with pytest.raises(InputError, match=r"no person has two photos \(1 people\)"):
        draw(people[-1:], 5, 3, 0)


class Everywhere(Finder):
    """Finds a face in every photo but those whose name has an x; no file is looked at."""

    def find(self, photos: Sequence[Path]) -> list[Any]:
        return [Located(p, None if "x" in p.name else (0, 0, 9, 9)) for p in photos]


def drawn_pairs(people: list[Person], count: int, tmp_path: Path, seed: int = 0) -> Drawn:
    return draw_pairs(people, count, seed, Everywhere(Store(tmp_path / "s")))


def test_everybody_has_a_turn_before_anybody_has_two(tmp_path: Path) -> None:
    people = [
        *somebody(20, 3),
        *(Person(f"many {n}", p.photos) for n, p in enumerate(somebody(2, 99))),
    ]
    for count, most in ((15, 1), (22, 1), (30, 2), (44, 2), (50, 5)):
        result = drawn_pairs(people, count, tmp_path)
        each = np.bincount(result.owner)
        assert len(result.probes) == len(result.owner) == each.sum() == count
        assert each.max() == most
        assert len(result.people) == len(result.gallery) == min(count, 22)
        for name, photos in result.roles:
            assert len(set(photos)) == len(photos) >= 2
            assert set(photos) <= set(next(p.photos for p in people if p.name == name))
    assert drawn_pairs(people, 10_000, tmp_path).owner.count(0) in (2, 98)
    assert len(drawn_pairs(people, 10_000, tmp_path).probes) == 20 * 2 + 2 * 98


def test_pairs_are_seeded_and_blind_to_order(tmp_path: Path) -> None:
    people = somebody(30, 4)
    one = drawn_pairs(people, 12, tmp_path)
    assert drawn_pairs(reversed_(people), 12, tmp_path) == one
    assert drawn_pairs(people, 12, tmp_path, seed=1) != one
    placed = [int(located.photo.stem.split("_")[1]) for located in one.gallery]
    assert len(set(placed)) > 1  # photos are drawn too: not everybody's first is in the gallery
    longer = drawn_pairs(people, 13, tmp_path)
    assert longer.first(12) == one  # more pairs are these, and more


def test_people_who_make_no_pair_are_counted_and_so_are_photos_without_a_face(
    tmp_path: Path,
) -> None:
    people = [
        *somebody(3, 2),
        Person("lone", (Path("1"),)),
        Person("nobody", ()),
        Person("blank", (Path("1"), Path("x1"), Path("x2"))),
        Person("late", (Path("1"), Path("x3"), Path("x4"), Path("2"))),
        Person("lone", (Path("1"),)),  # listed twice, one person still
    ]
    result = drawn_pairs(people, 100, tmp_path)
    assert sorted(result.people) == ["0", "1", "2", "late"]
    assert result.no_face == ["blank/x1", "blank/x2", "late/x3", "late/x4"]
    assert result.left_out == [
        "blank (fewer than two photos with a face)",
        "lone (one photo)",
        "nobody (no photo)",
    ]


def test_copies_are_left_out_and_named(
    tmp_path: Path, crops: Callable[[Path, int, int], list[Path]]
) -> None:
    photos = {
        "ann": ("1.png", "2.png", "3.png", "4.png", "5.webp", "6.jpg"),
        "bob": ("1.png", "2.png", "3.png"),
    }
    different = iter(crops(tmp_path / "all", 7, 96))
    for person, names in photos.items():
        (tmp_path / person).mkdir()
        for name in names:
            if name.endswith("png"):
                next(different).rename(tmp_path / person / name)
    shutil.copy(tmp_path / "ann" / "1.png", tmp_path / "ann" / "3.png")
    with Image.open(tmp_path / "ann" / "4.png") as image:
        image.resize((64, 64)).save(tmp_path / "ann" / "5.webp", quality=75)
        image.convert("L").resize((150, 150)).save(tmp_path / "ann" / "6.jpg", quality=40)
    with Image.open(tmp_path / "ann" / "2.png") as image:
        image.save(tmp_path / "bob" / "2.png", compress_level=0)
    for name in ("gone.png", "gone-2.png"):  # said to be missing by who reads them
        (tmp_path / "bob" / name).symlink_to(tmp_path / "nothing")
    for name in ("folder.png", "folder-2.png"):  # nor can these be read
        (tmp_path / "bob" / name).mkdir()
    people = [Person(p, tuple((tmp_path / p).iterdir())) for p in photos]
    kept, (warning,) = without_copies(people)
    assert [[photo.name for photo in person.photos] for person in kept] == [
        ["1.png", "4.png"],
        ["1.png", "3.png", "folder-2.png", "folder.png", "gone-2.png", "gone.png"],
    ]
    assert warning.startswith(
        "photos left out, which are copies of others: 5 (ann/2.png, ann/3.png, ann/5.webp, ann/6"
    )
    assert without_copies(kept) == (kept, [])


def test_copies_of_tiny_photos_are_left_out_where_they_were_encoded_well(
    tmp_path: Path, crops: Callable[[Path, int, int], list[Path]]
) -> None:
    files = crops(tmp_path / "ann", 6, 32)
    for file in files:
        with Image.open(file) as image:
            image.save(file.with_suffix(".jpg"), quality=90)
            image.save(file.with_suffix(".webp"), quality=90)
            image.resize((64, 64), Image.Resampling.BICUBIC).save(file.with_suffix(".bmp"))
    (kept,), (warning,) = without_copies([Person("ann", tuple((tmp_path / "ann").iterdir()))])
    assert [photo.stem for photo in kept.photos] == [file.stem for file in files]
    assert "copies of others: 18 (" in warning


@pytest.mark.parametrize("size", [(60, 90), (250, 250), (1025, 700), (3000, 2000)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_thumbnails_are_those_of_photos_decoded_whole(
    tmp_path: Path, size: tuple[int, int], mode: str
) -> None:
    file, exif = tmp_path / "a.jpg", Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = Image.fromarray(skimage.data.astronaut()).resize(size).convert(mode)
    photo.save(file, quality=75, exif=exif)
    whole = codec.read(file).rgb.convert("L").resize((16, 16), Image.Resampling.BILINEAR)
    assert np.abs(codec.thumbnail(file, 16) - np.asarray(whole, int)).max() <= 2


def test_shots_of_one_sitting_are_no_copies(data_root: Path) -> None:
    """The nearest photos that differ: a person who hardly moves, before one camera and wall."""
    files = sorted((data_root / "imm-frontal").glob("*.jpg"))
    shots = [Person(str(n), tuple(files[10 * n : 10 * n + 10])) for n in (4, 6, 9)]
    kept, warnings = without_copies(shots)
    assert warnings == []
    assert sum(len(person.photos) for person in kept) == 30


def test_photos_of_several_faces_are_counted(people: list[Person], store: Store) -> None:
    first, second = people[0].photos[:2]
    both = first.parents[1] / "both.png"
    images = [np.asarray(Image.open(file)) for file in (first, second)]
    Image.fromarray(np.hstack(images)).save(both)
    for _ in range(2):  # found, and stored
        finder = Finder(store)
        assert finder.find([first])[0].box
        assert finder.warnings() == []
        assert finder.find([both])[0].box
        (warning,) = finder.warnings()
        assert warning.startswith("photos with several faces, the largest of which counts: 1 (")


def test_some_of_the_pairs_have_the_gallery_of_their_people(tmp_path: Path) -> None:
    result = drawn_pairs(somebody(9, 4), 20, tmp_path)
    some = result.first(5)
    assert some.probes == result.probes[:5]
    assert len(some.people) == 5
    for owner, probe in zip(some.owner, some.probes, strict=True):
        name = some.people[owner]
        assert probe.photo.name.startswith(f"{name}_")
        assert some.gallery[owner] == result.gallery[result.people.index(name)]


# --- rates --------------------------------------------------------------------------------------


def by_scikit_learn(same: Sequence[float], different: Sequence[float]) -> dict[str, float]:
    """AUC, EER and TAR of distances, by an independent implementation."""
    labels = [1] * len(same) + [0] * len(different)
    scores = -np.array([*same, *different])
    far, tar, _ = roc_curve(labels, scores, drop_intermediate=False)
    crossing = brentq(lambda x: 1 - x - np.interp(x, far, tar), 0, 1) if len(far) > 2 else 0.5
    at = {f"{f}": float(tar[far <= f + 1e-12].max()) for f in (0.1, 0.01, 0.001)}
    return {"auc": float(roc_auc_score(labels, scores)), "eer": crossing, **at}


def matched(
    probes: int, people: int, seed: int, levels: int | None = None
) -> tuple[Matching, list[float], list[float]]:
    """Random distances, with ties where there are few levels; also as two lists."""
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, people, probes)
    apart = rng.normal(1.2, 0.3, (probes, people)).clip(0, 2)
    apart[np.arange(probes), owner] -= 0.4
    if levels:
        apart = (apart * levels).round() / levels
    own = np.zeros(apart.shape, bool)
    own[np.arange(probes), owner] = True
    return Matching(apart, owner.tolist()), apart[own].tolist(), apart[~own].tolist()


@pytest.mark.parametrize(
    ("probes", "count", "levels"), [(40, 30, None), (200, 60, 20), (7, 2, 4), (90, 120, 3)]
)
def test_rates_are_scikit_learns(probes: int, count: int, levels: int | None) -> None:
    for seed in range(5):
        matching, same, different = matched(probes, count, seed, levels)
        rates = matching.rates()
        expected = by_scikit_learn(same, different)
        assert rates.impostors == len(different) == probes * (count - 1)
        assert rates.auc == pytest.approx(expected["auc"], abs=1e-12)
        for far in (0.1, 0.01, 0.001):
            if len(different) * far >= 1:
                assert rates.tar_at(far) == pytest.approx(expected[f"{far}"], abs=1e-12)
            else:
                assert math.isnan(rates.tar_at(far))
        # Where TAR steps at the crossing itself, both ends of the step are solutions of theirs.
        far_there = np.interp(rates.eer, rates.far, rates.tar)
        assert rates.eer == pytest.approx(expected["eer"], abs=1e-6) or far_there != 1 - rates.eer


def test_the_roc_is_scikit_learns_and_thinned_it_stays_near() -> None:
    matching, same, different = matched(500, 300, 1)
    labels = [1] * len(same) + [0] * len(different)
    far, tar, _ = roc_curve(labels, -np.array([*same, *different]))
    rates = matching.rates()
    # scikit-learn's corners all lie on ours.
    for x, y in zip(far, tar, strict=True):
        low, high = np.interp([x - 1e-9, x + 1e-9], rates.far, rates.tar)
        assert low - 1e-6 <= y <= high + 1e-6 or y in rates.tar[np.isclose(rates.far, x)]
    thinned = rates.thinned()
    assert len(thinned["far"]) == len(thinned["tar"]) <= 200
    assert sum(far < 0.01 for far in thinned["far"]) > 40  # where it matters
    assert (thinned["far"][0], thinned["tar"][0]) == (0, 0)
    free = max(tar for far, tar in zip(thinned["far"], thinned["tar"], strict=True) if far == 0)
    assert free > 0
    assert free == pytest.approx(rates.tar[rates.far == 0].max(), abs=1e-6)
    assert (thinned["far"][-1], thinned["tar"][-1]) == (1, 1)
    for corners in thinned.values():
        assert corners == sorted(corners)
    for x in (1e-3, 1e-2, 0.1, 0.5):
        there = np.interp(x, thinned["far"], thinned["tar"])
        assert there == pytest.approx(rates.tar_at(x), abs=0.02)


tables = st.tuples(st.integers(2, 6), st.integers(2, 12), st.integers(0, 10_000), st.integers(2, 9))


@given(tables)
def test_only_the_order_of_distances_counts(given: tuple[int, int, int, int]) -> None:
    people, probes, seed, levels = given
    matching, *_ = matched(probes, people, seed, levels)
    rates = matching.rates()
    for transform in (np.exp, np.square, lambda x: 3 * x - 1):
        other = Matching(transform(matching.distances), matching.owner.tolist()).rates()
        assert (other.auc, other.eer) == (rates.auc, rates.eer)
        assert np.array_equal(other.tar, rates.tar)
        assert np.array_equal(other.far, rates.far)


@given(tables)
def test_swapped_labels_are_the_complement(given: tuple[int, int, int, int]) -> None:
    _, probes, seed, levels = given
    matching, *_ = matched(probes, 2, seed, levels)  # of two people, one other is the impostor
    swapped = Matching(matching.distances[:, ::-1], matching.owner.tolist())
    assert swapped.rates().auc == pytest.approx(1 - matching.rates().auc, abs=1e-12)


@given(tables)
def test_rates_are_rates(given: tuple[int, int, int, int]) -> None:
    people, probes, seed, levels = given
    rates = matched(probes, people, seed, levels)[0].rates()
    for values in (rates.far, rates.tar):
        assert values[0] == 0
        assert values[-1] == 1
        assert (np.diff(values) >= 0).all()
    area = float(np.sum(np.diff(rates.far) * (rates.tar[1:] + rates.tar[:-1]) / 2))
    assert rates.auc == pytest.approx(area, abs=1e-12)
    assert 0 <= rates.eer <= 1


def test_equal_distances_are_a_coin_and_a_perfect_judge_is_perfect() -> None:
    flat = Matching(np.ones((6, 3)), [0, 1, 2, 0, 1, 2])
    assert (flat.rates().auc, flat.rates().eer) == (0.5, 0.5)
    assert flat.rates().tar_at(0.1) == 0
    assert flat.rank_1(np.ones((1, 3))).value == 0  # a tie is a miss
    perfect = Matching(1 - np.eye(4), [0, 1, 2, 3])
    assert (perfect.rates().auc, perfect.rates().eer) == (1, 0)
    assert perfect.rates().tar_at(0.1) == 1
    assert perfect.rank_1(np.ones((1, 4))) == Estimate(1, 1, 1)


def test_a_draw_counts_people_as_if_they_were_there_so_often() -> None:
    matching, *_ = matched(30, 9, 3, 12)
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = rng.integers(0, 9, 9)
        same, different = [], []
        for person in drawn:
            for probe in np.flatnonzero(matching.owner == person):
                same.append(matching.distances[probe, person])
                different += [matching.distances[probe, o] for o in drawn if o != person]
        rates = matching.rates(np.bincount(drawn, minlength=9).astype(float))
        expected = by_scikit_learn(same, different)
        assert rates.auc == pytest.approx(expected["auc"], abs=1e-12)
        assert rates.tar_at(0.1) == pytest.approx(expected["0.1"], abs=1e-12)
        assert rates.impostors == len(different)


def test_a_draw_of_one_person_has_no_impostors_and_does_not_count() -> None:
    matching, *_ = matched(8, 2, 0)
    drawn = np.array([[2.0, 0], [1, 1], [1, 1]])
    everybody, one, *both = matching.figures(drawn, [0.5])["auc"]
    assert np.isnan(one)
    assert both == [everybody] * 2 == [matching.rates().auc] * 2
    assert Estimate.of(0.5, np.array([one, *both])).low == everybody


def test_intervals_cover_what_they_should_and_narrow_with_more_people() -> None:
    widths = []
    for people in (10, 40, 160):
        matching, *_ = matched(people * 2, people, 5)
        everybody, *draws = matching.figures(weights(people, 200, 0), [0.1])["auc"]
        auc = Estimate.of(everybody, np.array(draws))
        assert auc.low < auc.value < auc.high
        widths.append(auc.high - auc.low)
    assert widths[0] > widths[1] > widths[2]
    assert np.array_equal(weights(7, 50, 3), weights(7, 50, 3))
    assert (weights(7, 50, 3).sum(axis=1) == 7).all()


def test_rank_1_is_the_share_whose_nearest_is_their_own() -> None:
    matching, *_ = matched(60, 12, 2)
    hits = matching.distances.argmin(axis=1) == matching.owner
    result = matching.rank_1(weights(12, 300, 0))
    assert result.value == hits.mean()
    assert result.low < result.value < result.high


def test_the_share_of_a_gap_has_ends() -> None:
    one, half, none = (np.array([value]) for value in (1.0, 0.5, 0.0))
    assert share(half, none, one) == 0.5
    assert share(half, one, none) == 0.5
    assert np.isnan(share(half, one, one))


# --- pairs --------------------------------------------------------------------------------------


def test_pairs_are_counted_and_scored_in_every_method(paired: Pairs) -> None:
    assert (paired.same, paired.different, paired.people, paired.photos) == (11, 11, 8, 19)
    assert paired.impostors == 11 * 7
    assert list(paired.scores) == ["LR", "bicubic", "blurred", "HR"]
    for scores in paired.scores.values():
        assert len(scores.same) == len(scores.different) == 11
        for estimate in (scores.auc, scores.eer, scores.rank1):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert scores.tar == {}  # 77 impostors
        assert not set(scores.same) & set(scores.different)  # a stranger is never oneself
    assert paired.scores["HR"].auc.value > 0.9
    assert (paired.scores["LR"].closed.value, paired.scores["HR"].closed.value) == (0, 1)
    assert paired.notes[0] == "77 impostors are too few for FAR 0.01 and 0.001"
    auc = {name: scores.auc.value for name, scores in paired.scores.items()}
    closed = (auc["blurred"] - auc["LR"]) / (auc["HR"] - auc["LR"])
    assert paired.scores["blurred"].closed.value == pytest.approx(closed)


def test_pairs_of_one_size_are_those_of_the_curve(people: list[Person], store: Store) -> None:
    result = pairs(verifier(store), people, count=8, lr_sizes=(8, 16))
    assert [(size.lr_size, size.photos) for size in result.sizes] == [(8, 16), (16, 16)]
    for name, scores in result.sizes[1].scores.items():
        assert scores["auc"] == result.scores[name].auc
        assert scores["tar"] == UNKNOWN  # 56 impostors
    smaller = result.sizes[0].scores
    assert any(smaller[name]["auc"] != scores.auc for name, scores in result.scores.items())


def test_more_pairs_than_there_are_is_said(people: list[Person], store: Store) -> None:
    result = pairs(verifier(store, METHODS[:1]), people, lr_sizes=())
    assert result.same == 22 - 8
    assert result.notes[0].startswith(
        "1000 same pairs were requested; these people's photos make 14"
    )
    assert "0.001" in result.notes[1]
    assert result.sizes == []


def test_everything_survives_json(measured: Distances, paired: Pairs, tmp_path: Path) -> None:
    report = Report({}, distances=measured, everybody=measured, pairs=paired)
    report.write(tmp_path / "report.json")
    back = Report.read(tmp_path / "report.json")
    assert (back.distances, back.everybody) == (measured, measured)
    assert back.as_json() == report.as_json()
    summary = measured.as_json()["summary"]["blurred"]
    assert summary["mean"] == measured.mean("blurred")
    assert summary["closed"] == vars(measured.closed("blurred"))


# --- what can't matter --------------------------------------------------------------------------


def test_the_order_changes_nothing(
    measured: Distances, paired: Pairs, people: list[Person], tmp_path: Path
) -> None:
    other = Store(tmp_path / "other.sqlite")  # nothing is known: all is computed again
    turned = reversed_(people)
    assert pairs(verifier(other), turned, count=11, lr_sizes=(8, 16)) == paired
    result = distances(verifier(other), people[::-1])
    assert sorted(map(str, result.rows)) == sorted(map(str, measured.rows))
    assert result.protocol == measured.protocol


def test_the_batch_size_matters_less_than_the_tolerance(
    people: list[Person], tmp_path: Path
) -> None:
    given = compared(load("faces", device="cpu"))
    result = [
        distances(verifier(Store(tmp_path / f"{size}"), given, batch_size=size), people[:3])
        for size in (3, 64)
    ]
    for one, other in zip(result[0].rows, result[1].rows, strict=True):
        for name, distance in one.distances.items():
            assert distance == pytest.approx(other.distances[name], abs=TOLERANCE)


# --- what isn't computed twice ------------------------------------------------------------------


def test_a_second_run_embeds_nothing_and_searches_nothing(
    people: list[Person], store: Store, measured: Distances, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(align, "detector", lambda **_: pytest.fail("searched again"))
    by = Colours()
    assert distances(verifier(store, by=by), people) == measured
    assert by.batches == []
    other = Colours(sha256="1" * 64)
    distances(verifier(store, by=other), people)
    assert sum(other.batches) == 8 + 14 * 4


def test_equal_images_are_embedded_once(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)[[0, 1, 0, 2, 1]]
    by = Colours()
    result = Embeddings(by, Store(tmp_path / "s"), 2)(images)
    assert by.batches == [2, 1]
    assert np.allclose(result, by(images.float() / 255).numpy(), atol=1e-6)


def test_an_image_of_another_shape_is_another_image(tmp_path: Path) -> None:
    embeddings = Embeddings(Colours(), Store(tmp_path / "s"))
    wide = torch.arange(96, dtype=torch.uint8).view(1, 3, 4, 8)
    assert not np.allclose(embeddings(wide), embeddings(wide.view(1, 3, 8, 4)))


def test_damaged_weights_are_one_line(tmp_path: Path) -> None:
    class Broken(Colours):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * math.nan

    with pytest.raises(InputError, match="colours: embeddings aren't finite"):
        Embeddings(Broken(), Store(tmp_path / "s"))(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    assert Store(tmp_path / "s").get("embeddings", [b"x"]) == {}


def test_what_was_interrupted_goes_on(people: list[Person], tmp_path: Path) -> None:
    own = Store(tmp_path / "s")
    dies = Colours(dies_after=5)
    with pytest.raises(KeyboardInterrupt):
        distances(verifier(own, by=dies, batch_size=4), people[:3])
    goes_on = Colours()
    distances(verifier(own, by=goes_on, batch_size=4), people[:3])
    assert sum(goes_on.batches) + sum(dies.batches) == 3 + 6 * 4


EMBEDDER = """
class Embedder:
    name, sha256 = "embedder", "0"

    def __call__(self, images):
        return 255 * images.flatten(1)
"""


def test_an_embedder_whose_source_changed_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "s")
    images = torch.ones(1, 3, 4, 4, dtype=torch.uint8)
    values = []
    monkeypatch.syspath_prepend(tmp_path)
    for factor in (255, 510):
        name = f"an_embedder_{factor}"
        (tmp_path / f"{name}.py").write_text(EMBEDDER.replace("255", str(factor)))
        embedder = importlib.import_module(name).Embedder()
        values.append(round(float(Embeddings(embedder, store)(images)[0, 0])))
    assert values == [1, 2]


# --- alignment on results -----------------------------------------------------------------------


def grey(lr: Tensor) -> Tensor:
    return torch.full((len(lr), 3, lr.shape[-2] * 4, lr.shape[-1] * 4), 0.5)


def test_results_may_be_aligned_anew_and_what_has_no_face_is_counted(
    people: list[Person], store: Store, measured: Distances
) -> None:
    given = [*METHODS, *compared(Method("grey", grey))[1:]]
    result = distances(verifier(store, given, align="sr"), people)
    assert "anew on every result" in result.protocol["alignment"]
    message = [note for note in result.notes if note.startswith("grey")]
    assert message == [
        "grey: no face found on 14 of 14 results of 64x64; they keep the crop of the HR photo"
    ]
    assert result.mean("LR") == measured.mean("LR")  # the floor stays where it is
    assert result.mean("HR") != measured.mean("HR")
    on_hr = distances(verifier(store, given[-1:]), people)
    assert result.mean("grey") == on_hr.mean("grey")


def test_a_result_is_cropped_around_the_face_on_it(store: Store) -> None:
    photo = Image.fromarray(skimage.data.astronaut()[:220, 110:330])
    images = torch.stack(
        [
            codec.to_tensor(photo.transform((64, 64), Image.Transform.AFFINE, (3, 0, x, 0, 3, y)))[
                0
            ]
            for x, y in ((0, 0), (12, 9), (30, 24))
        ]
    )
    crops, missed = Finder(store).reframed(codec.to_uint8(images))
    assert missed == 0
    assert crops.shape == images.shape
    crops = crops.float() / 255
    for one in crops[1:]:  # brought to one place again, but for what lies beyond the image
        before = (images[0] - images[2]).abs().mean()
        assert (crops[0] - one)[:, 8:56, 8:56].abs().mean() < before / 2
    again, _ = Finder(store).reframed(codec.to_uint8(images))
    assert torch.equal(again.float() / 255, crops)


# --- framed as CelebA's images ------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["squash", "square"])
def test_a_face_framed_as_celebas_is_cropped_as_it_is_by_itself(
    people: list[Person], store: Store, framing: str
) -> None:
    finder = Finder(store)
    located = finder.find([person.photos[0] for person in people])
    frames, alone = finder.crops(located, 256, framing), finder.crops(located, 256)
    assert frames.shape == alone.shape == (len(people), 3, 256, 256)
    found = [align.detector().faces(Image.fromarray(f.permute(1, 2, 0).numpy())) for f in frames]
    width, height = align.CELEBA_SIZE
    low, high = ((0, height), ((height - width) / 2, (height + width) / 2))[framing == "square"]
    left, top, right, bottom = align.CELEBA_BOX
    expected = np.array([left / width, (top - low) / (high - low)] * 2)
    expected[2:] += (right - left) / width, (bottom - top) / (high - low)
    for face, *_ in found:
        np.testing.assert_allclose(np.array(face.box) / 256, expected, atol=0.06)
    again = finder.out_of_frames(frames, located, framing)
    apart = (again.float() - alone.float()).abs().mean()
    assert apart < 3 < (frames.float() - alone.float()).abs().mean()


def test_identity_of_faces_framed_as_celebas(people: list[Person], store: Store) -> None:
    protocol = Protocol().for_faces("celeba")
    assert protocol.framing == "squash"
    framed = Verifier(METHODS, Colours(), protocol, store, align="celeba")
    seen: list[tuple[int, ...]] = []
    framed.methods = [Method("watched", lambda lr: seen.append(tuple(lr.shape)) or blurred(lr))]
    result = distances(framed, people)
    assert {shape[1:] for shape in seen} == {(3, 16, 16)}
    assert result.methods == ["LR", "watched", "HR"]
    assert "CelebA's aligned image" in result.protocol["alignment"]
    assert (result.protocol["align"], result.protocol["framing"]) == ("celeba", "squash")
    assert result.mean("HR") < result.mean("watched")


# --- other programs' results --------------------------------------------------------------------


def test_every_lr_image_is_written_that_is_upscaled(
    people: list[Person], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: set[str] = set()

    def watched(lr: Tensor) -> Tensor:
        keys.update(lr_key(image.permute(1, 2, 0).numpy()) for image in codec.to_uint8(lr))
        return blurred(lr)

    def written(**options: Any) -> set[str]:
        images = runner.lr_images(verify="folders", verify_data=folder, **options)
        return {lr_key(image) for _, image in images}

    monkeypatch.setattr(runner, "default_store", lambda: store)
    folder = people[0].photos[0].parents[1]
    methods = compared(Method("watched", watched))[1:]
    pairs(verifier(store, methods), people, count=9, lr_sizes=(8, 12))
    assert written(pairs=9, lr_sizes=(8, 12)) == keys
    assert len(keys) == 9 * 3
    keys.clear()
    distances(verifier(store, methods), draw(people, 2, 3, 0))
    assert written(people=2, pairs=0) == keys
    assert written(people=2, pairs=0, align="celeba").isdisjoint(keys)


def test_a_method_that_makes_another_size_is_refused(people: list[Person], store: Store) -> None:
    double = Method("double", lambda lr: lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
    with pytest.raises(InputError, match="'double' makes 32x32 pixels of 16x16, not 64x64"):
        distances(verifier(store, [double]), people)


# --- real faces ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facenet(data_root: Path) -> Any:
    weights = data_root / "weights" / "facenet-casia-webface.pt"
    return registry.build("embedders", "facenet", weights=str(weights))


@pytest.mark.long
def test_distances_on_real_faces_are_what_another_implementation_measured(
    data_root: Path, facenet: Any, store: Store
) -> None:
    everybody = registry.build("face_sets", "imm", root=data_root / "imm-frontal")
    some = [Person(person.name, person.photos[:3]) for person in everybody]
    result = distances(verifier(store, compared(), facenet), some)
    assert (result.people, len(result.rows), result.no_face, result.left_out) == (12, 24, [], [])
    assert result.mean("HR") == pytest.approx(0.237, abs=0.01)
    assert result.mean("bicubic") == pytest.approx(1.224, abs=0.05)
    assert result.mean("LR") > 1
    assert result.protocol["embedder"] == "facenet (facenet-casia-webface)"


@pytest.mark.long
def test_lfw_is_told_apart_by_hr_and_hardly_by_bicubic(
    data_root: Path, facenet: Any, store: Store
) -> None:
    everybody = registry.build("face_sets", "lfw", root=data_root / "lfw")
    result = pairs(verifier(store, compared(), facenet), everybody, count=30, lr_sizes=())
    assert (result.same, result.impostors) == (30, 30 * 29)
    assert result.scores["HR"].auc.value > 0.95
    assert 0.6 < result.scores["bicubic"].auc.value < 0.92
    for scores in result.scores.values():
        assert set(scores.tar) == {"0.01"}
        assert np.mean(scores.same) < np.mean(scores.different)
    assert sum(line.endswith("(one photo)") for line in result.left_out) == 4069
