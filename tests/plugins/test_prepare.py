"""`srkit prepare`: faces out of photos, the manifest, going on after an end, what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from forks import Fork
from PIL import Image
from srkit_prepare.command import prepare as verb
from srkit_prepare.run import Settings, Summary, plan, prepare
from srkit_prepare.worker import Worker

from srkit.cli import main
from srkit.errors import Interrupted, OptionError
from srkit.faces.align import CELEBA_LANDMARKS, detector, place
from srkit.hookspecs import Face
from srkit.imaging import codec

# The astronaut's eyes are 41 pixels apart: she isn't upscaled.
SMALL = Settings(width=89)
COMMAND = ("--width", "89", "--device", "cpu")


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    return Image.fromarray(skimage.data.astronaut())


@pytest.fixture(scope="session")
def portrait(astronaut: Image.Image) -> Image.Image:
    return astronaut.crop((120, 0, 330, 250))


def portraits(folder: Path, count: int, portrait: Image.Image) -> Path:
    """Write portraits, no two alike."""
    for number in range(count):
        file = folder / f"{'ab'[number % 2]}" / f"photo {number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        portrait.point(lambda value, n=number: max(0, value - n)).save(file)
    return folder


def torn(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:2000])
    return file


MANIFEST = "manifest.jsonl"


def lines(out: Path) -> dict[str, Any]:
    """Return the last line of each photo."""
    text = (out / MANIFEST).read_text(encoding="utf-8")
    return {line["name"]: line for line in map(json.loads, text.splitlines())}


def faces(out: Path) -> list[Any]:
    return [face for _, line in sorted(lines(out).items()) for face in line["faces"]]


def tree(folder: Path) -> dict[str, str]:
    """Return what every file but the manifest is called and a fingerprint of what is in it."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }


# --- what comes out -------------------------------------------------------------------------------


def test_a_folder_of_all_sorts(
    astronaut: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "späti 東京").mkdir(parents=True)
    turned = astronaut.rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees
    exif[0x010E] = "a secret place"
    turned.save(photos / "späti 東京" / "größe.jpg", exif=exif, quality=95)
    astronaut.convert("L").save(photos / "grey.tif")
    Image.fromarray(skimage.data.coffee()).save(photos / "landscape.jpg")
    astronaut.save(photos / "broken.jpg")
    torn(photos / "broken.jpg")
    (photos / "notes.txt").write_text("not an image")
    (photos / "empty.png").touch()
    before = tree(photos)

    assert main(["prepare", str(photos), str(out), *COMMAND]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == (
        "5 photos, 2 faces written, 0 rejected, 1 without a face, 2 unreadable; "
        f"see {out / MANIFEST}"
    )
    errors = said.err.splitlines()
    assert all(line.startswith("srkit: ") for line in errors)
    assert [line.split(":")[1] for line in errors] == [" broken.jpg", " empty.png"]
    assert tree(photos) == before

    by_photo = lines(out)
    assert {photo: (line["status"], len(line["faces"])) for photo, line in by_photo.items()} == {
        "broken.jpg": ("unreadable", 0),
        "empty.png": ("unreadable", 0),
        "grey.tif": ("read", 1),
        "landscape.jpg": ("read", 0),
        "späti 東京/größe.jpg": ("read", 1),
    }
    assert str(tmp_path) not in (out / MANIFEST).read_text(encoding="utf-8")
    assert {photo: line["sha256"] for photo, line in by_photo.items()} == {
        photo: digest for photo, digest in before.items() if photo != "notes.txt"
    }
    made = {"grey_0.png", "späti 東京/größe_0.png"}
    assert {face["output"] for face in faces(out)} == made
    assert set(tree(out)) == made | {"prepare.json"}
    for name in made:
        with Image.open(out / name) as crop:
            assert (crop.size, crop.mode, crop.format) == ((89, 109), "RGB", "PNG")
            assert not crop.getexif()
    grey, upright = (np.asarray(Image.open(out / name)).astype(float) for name in sorted(made))
    # Found apart, they are framed alike but for a pixel or two.
    assert np.abs(grey.mean(axis=2) - upright @ [0.299, 0.587, 0.114]).mean() < 8


def test_the_manifest_says_where_the_face_is(portrait: Image.Image, tmp_path: Path) -> None:
    portraits(tmp_path / "photos", 1, portrait)
    summary = prepare(tmp_path / "photos", tmp_path / "out", SMALL)
    assert (summary.photos, summary.written, summary.rejected) == (1, 1, {})
    (face,) = faces(tmp_path / "out")
    left, top, right, bottom = face["box"]
    left_eye, right_eye, nose, left_mouth, _ = face["landmarks"]
    assert left < left_eye[0] < right_eye[0] < right
    assert top < nose[1] < left_mouth[1] < bottom
    assert 0.4 < face["scale"] < 0.6
    assert 0 <= face["outside"] < 0.2
    assert face["probability"] > 0.99
    with Image.open(tmp_path / "out" / face["output"]) as crop:
        eyes = detector().faces(crop.resize((178, 218)))[0].landmarks[:2]
    assert np.array(eyes) == pytest.approx(np.array([(69.7, 111.7), (108.6, 111.7)]), abs=5)


def test_every_rejected_face_has_its_reason(astronaut: Image.Image, tmp_path: Path) -> None:
    """Three of her on one canvas: large, tiny, and cut by the border."""
    (photos := tmp_path / "photos").mkdir()
    face = astronaut.crop((120, 0, 330, 250))
    canvas = Image.new("RGB", (900, 600), (120, 130, 140))
    canvas.paste(face.resize((420, 500), Image.Resampling.BICUBIC), (40, 60))
    canvas.paste(face.resize((105, 125), Image.Resampling.BICUBIC), (560, 100))
    canvas.paste(face.crop((0, 60, 210, 250)), (620, 0))
    canvas.save(photos / "three.png")

    def reasons(**changes: object) -> list[str]:
        out = tmp_path / f"out {len(list(tmp_path.iterdir()))}"
        changes = {"width": 178, "max_upscale": 1.1, **changes}
        prepare(photos, out, dataclasses.replace(SMALL, **changes))  # type: ignore[arg-type]
        found = faces(out)
        assert {face["output"] for face in found} - {""} == {p.name for p in out.glob("*.png")}
        assert all((face["reason"] == "") == (face["output"] != "") for face in found)
        return [face["reason"] for face in found]

    large, cut, small = reasons()
    assert large == ""
    assert cut.startswith("cut off: 3")
    assert cut.endswith("% of the crop is outside of the photo")
    assert small.startswith("too small: eyes 19 px apart")
    assert "would be upscaled 2." in small
    assert reasons(max_outside=0.5, max_upscale=3) == ["", "", ""]
    assert reasons(largest_only=True) == ["", "not the largest", "not the largest"]


def test_faces_that_the_detector_doubts_are_named(tmp_path: Path) -> None:
    framed = tuple((x + 50, y + 50) for x, y in CELEBA_LANDMARKS)
    found = [
        Face((0, 0, 200, 200), 0.83, framed),
        Face((0, 0, 100, 100), 0.99, framed),
        Face((0, 0, 90, 90), 0.95, ((5.0, 5.0),) * 5),
        Face((0, 0, 80, 80), 0.95, framed),
    ]
    worker = Worker(tmp_path, tmp_path, Settings(largest_only=True), "cpu")
    placements = [place(face.landmarks, (300, 300), 178) for face in found]
    assert [worker.objection(found, number, its) for number, its in enumerate(placements)] == [
        "unsure: probability 0.83",  # so it doesn't count as the largest either
        "",
        "no face: its landmarks are in one place",
        "not the largest",
    ]


def test_names_are_unique_and_stay_below_their_folder(tmp_path: Path) -> None:
    names = ("a.jpg", "a.png", "B.png", "b.jpg", "c.jpg", "a.jpg.png", "sub/a.jpg", "d.e.png")
    for name in names:
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    jobs = {job.photo: job.crop(0) for job in plan(tmp_path / "photos", tmp_path / "out")}
    assert jobs == {
        "a.jpg": "a.jpg_0.png",
        "a.jpg.png": "a.jpg.png_0.png",
        "a.png": "a.png_0.png",
        "b.jpg": "b.jpg_0.png",
        "B.png": "B.png_0.png",
        "c.jpg": "c_0.png",
        "d.e.png": "d.e_0.png",
        "sub/a.jpg": "sub/a_0.png",
    }


def test_a_colour_profile_goes_along(portrait: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    portrait.save(tmp_path / "photos" / "p.png", icc_profile=profile)
    prepare(tmp_path / "photos", tmp_path / "out", SMALL)
    with Image.open(tmp_path / "out" / "p_0.png") as crop:
        assert crop.info["icc_profile"] == profile


def test_real_portraits_are_framed(data_root: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("imm-frontal/01_01.jpg", "imm-frontal/02_06.jpg", "imm-frontal/09_04.jpg"):
        shutil.copy(data_root / name, photos)
    for file in sorted((data_root / "portraits-cc0" / "scenes").iterdir())[:2]:
        shutil.copy(file, photos)
    summary = prepare(photos, tmp_path / "out")
    assert (summary.photos, summary.written, summary.rejected) == (5, 5, {})
    eyes = []
    for crop in sorted((tmp_path / "out").glob("*.png")):
        image = codec.read(crop).rgb
        assert image.size == (178, 218)
        eyes.append(detector().faces(image)[0].landmarks[:2])
    away = np.linalg.norm(np.array(eyes) - [(69.7, 111.7), (108.6, 111.7)], axis=-1)
    assert away.mean() < 3
    assert away.max() < 6


# --- again, and after an end ----------------------------------------------------------------------


def test_a_second_run_does_what_is_new_changed_gone_or_lost(
    portrait: Image.Image, astronaut: Image.Image, tmp_path: Path
) -> None:
    photos, out = portraits(tmp_path / "photos", 4, portrait), tmp_path / "out"
    assert prepare(photos, out, SMALL).done_before == 0
    first = tree(out)
    times = {file: file.stat().st_mtime_ns for file in out.rglob("*.png")}

    assert prepare(photos, out, SMALL).done_before == 4
    assert tree(out) == first
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.png")} == times

    (photos / "a" / "photo 00.png").unlink()  # gone
    Image.new("RGB", (99, 99)).save(photos / "a" / "photo 02.png")  # no face any more
    (out / "b" / "photo 01_0.png").unlink()  # lost
    astronaut.save(photos / "new.png")
    summary = prepare(photos, out, SMALL)
    assert (summary.photos, summary.done_before, summary.removed) == (4, 1, 1)
    assert (summary.written, summary.no_face) == (3, 1)
    again = tmp_path / "again"
    prepare(photos, again, SMALL)
    assert tree(out) == tree(again)
    assert "a/photo 02_0.png" not in tree(out)


def test_a_line_edited_to_point_elsewhere_deletes_nothing(
    portrait: Image.Image, tmp_path: Path
) -> None:
    photos, out = portraits(tmp_path / "photos", 2, portrait), tmp_path / "out"
    prepare(photos, out, SMALL)
    precious = tmp_path / "precious.png"
    precious.write_bytes(b"mine")
    text = (out / MANIFEST).read_text(encoding="utf-8")
    changed = text.replace("a/photo 00_0.png", "../precious.png")
    (out / MANIFEST).write_text(changed, encoding="utf-8")
    prepare(photos, out, SMALL)
    assert precious.read_bytes() == b"mine"
    assert lines(out)["a/photo 00.png"]["files"][0][0] == "a/photo 00_0.png"


def test_a_line_that_is_torn_or_of_another_kind_is_done_again(
    portrait: Image.Image, tmp_path: Path
) -> None:
    photos, out = portraits(tmp_path / "photos", 2, portrait), tmp_path / "out"
    prepare(photos, out, SMALL)
    whole, (one, other) = tree(out), (out / MANIFEST).read_text().splitlines(keepends=True)
    of_another_kind = json.dumps(json.loads(other) | {"faces": "one"}) + "\n"
    for line in (other[:-2], other[:-200], of_another_kind):
        (out / MANIFEST).write_text(one + line)
        assert prepare(photos, out, SMALL).done_before == 1
        assert tree(out) == whole


def begun(folder: Path, photos: Path, out: Path, workers: int) -> Fork:
    """Start the command in a process group of its own; return when some photos are done."""

    def command() -> int:
        os.setsid()
        return main(["prepare", str(photos), str(out), *COMMAND, "--workers", str(workers)])

    fork = Fork(folder, command)
    manifest = out / MANIFEST
    fork.wait_until(lambda: manifest.is_file() and manifest.read_bytes().count(b"\n") > 4)
    return fork


def ended(pids: list[int]) -> bool:
    """Wait until none of some processes is there, or a time has passed."""
    until = time.monotonic() + 20
    while alive := [pid for pid in pids if Path(f"/proc/{pid}/cmdline").is_file()]:
        if time.monotonic() > until:
            return not alive
        time.sleep(0.05)
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_killed_and_gone_on_with_is_the_same_as_not_disturbed(
    workers: int, portrait: Image.Image, tmp_path: Path
) -> None:
    count = 80 if workers == 2 else 10  # for few, a second process isn't begun
    photos = portraits(tmp_path / "photos", count, portrait)
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    fork = begun(tmp_path, photos, out, workers)
    children = Path(f"/proc/{fork.pid}/task/{fork.pid}/children").read_text().split()
    fork.end(signal.SIGKILL)
    assert len(children) >= (2 if workers == 2 else 0)
    assert ended([int(pid) for pid in children])
    summary = prepare(photos, out, SMALL, device="cpu")
    assert 4 <= summary.done_before < count
    assert summary.written == count
    prepare(photos, undisturbed, SMALL, device="cpu")
    assert tree(out) == tree(undisturbed)


@pytest.mark.skipif(sys.platform != "linux", reason="signals a process group")
@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, 1),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.long),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.long),
    ],
)
def test_an_interrupt_is_one_line(
    number: signal.Signals, workers: int, portrait: Image.Image, tmp_path: Path
) -> None:
    count = 80 if workers == 2 else 30
    photos, out = portraits(tmp_path / "photos", count, portrait), tmp_path / "out"
    fork = begun(tmp_path, photos, out, workers)
    if number is signal.SIGINT:
        os.killpg(fork.pid, number)  # as a terminal does
        status, printed, err = fork.end()
    else:
        status, printed, err = fork.end(number)
    assert (status, printed) == (130, "")
    (line,) = err.splitlines()
    assert line.startswith("srkit: stopped with ")
    assert line.endswith(f" of {count} photos done; the same command goes on from there")
    assert not list(out.rglob("*.part"))


def test_an_interrupt_in_python_keeps_what_is_done(portrait: Image.Image, tmp_path: Path) -> None:
    photos, out = portraits(tmp_path / "photos", 4, portrait), tmp_path / "out"
    handler = signal.getsignal(signal.SIGTERM)

    def report(done: int, _: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped with 3 of 4 photos done"):
        prepare(photos, out, SMALL, report=report)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert prepare(photos, out, SMALL).done_before == 3


# --- what is refused ------------------------------------------------------------------------------


@pytest.fixture
def refused(refused: Callable[..., str]) -> Callable[..., str]:
    """Run the command; return the one line it says."""
    return lambda *arguments: refused("prepare", *arguments, *COMMAND)


def test_folders_without_an_image_are_refused(
    tmp_path: Path, refused: Callable[..., str], astronaut: Image.Image
) -> None:
    assert "no such folder" in refused(tmp_path / "none", tmp_path / "out")
    (empty := tmp_path / "empty").mkdir()
    assert "no images in it" in refused(empty, tmp_path / "out")
    (empty / "notes.txt").write_text("words")
    assert "no images in it" in refused(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for name in ("one.jpg", "two.jpg"):
        astronaut.save(empty / name)
        torn(empty / name)
    line = refused(empty, tmp_path / "out")
    assert "none of 2 images" in line
    assert "one.jpg: not a readable image" in line


def test_crops_never_come_among_the_photos(
    portrait: Image.Image, tmp_path: Path, refused: Callable[..., str]
) -> None:
    photos = portraits(tmp_path / "photos", 2, portrait)
    before = tree(photos)
    assert "choose another place" in refused(photos, photos)
    assert "choose another place" in refused(photos / "a", photos)
    assert "holds something else than results" in refused(photos / "a", photos / "b")
    assert tree(photos) == before
    # Below the photos is fine: crops are not taken for photos.
    for done_before in (0, 2):
        summary = prepare(photos, photos / "faces", SMALL)
        assert (summary.photos, summary.done_before) == (2, done_before)
    shutil.rmtree(photos / "a")
    shutil.rmtree(photos / "b")
    assert "no images in it but those in" in refused(photos, photos / "faces")


def test_other_settings_and_other_photos_are_refused(
    portrait: Image.Image, astronaut: Image.Image, tmp_path: Path, refused: Callable[..., str]
) -> None:
    photos, out = portraits(tmp_path / "photos", 1, portrait), tmp_path / "out"
    prepare(photos, out, SMALL)
    before = tree(out)
    with pytest.raises(OptionError, match=r"width 89, not 178, confidence 0\.9, not 0\.5; choose"):
        prepare(photos, out, Settings(confidence=0.5))
    (others := tmp_path / "others").mkdir()
    astronaut.save(others / "photo.png")
    assert "holds the faces of other photos" in refused(others, out)
    assert tree(out) == before
    (out / "prepare.json").write_text("{}")
    assert "'format' is missing" in refused(photos, out)


def test_small_faces_are_told_from_missing_ones_and_where_none_is_written_what_to_do_is_said(
    portrait: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = portraits(tmp_path / "photos", 1, portrait)
    summary = prepare(photos, tmp_path / "none", Settings(min_face_size=210))
    assert (summary.written, summary.rejected, summary.no_face) == (0, {}, 1)
    assert faces(tmp_path / "none") == []
    assert main(["prepare", str(photos), str(tmp_path / "out"), "--width", "300"]) == 1
    said = capsys.readouterr()
    assert "0 faces written, 1 rejected (1 too small)" in said.out
    assert said.err == "srkit: a smaller --width or a larger --max-upscale admits smaller faces\n"


def test_a_value_without_sense_is_refused() -> None:
    with pytest.raises(OptionError, match="max_outside is 2, but must be from 0 to 1"):
        Settings(max_outside=2)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(
    portrait: Image.Image, tmp_path: Path, refused: Callable[..., str]
) -> None:
    photos = portraits(tmp_path / "photos", 1, portrait)
    (closed := tmp_path / "closed").mkdir(mode=0o500)
    assert "can't write to" in refused(photos, closed / "out")


def test_the_command_and_the_function_have_the_same_defaults() -> None:
    given = {name: its.default for name, its in inspect.signature(verb).parameters.items()}
    settings = dataclasses.asdict(Settings())
    assert {name: given[name] for name in settings} == settings


def test_names_that_steer_a_terminal_are_shown_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command itself; a whole run with such names is `long`."""
    bad = "\x1b[31m\nsrkit: \x07"
    done = Summary(2, 0, 1, {}, 0, (f"{bad}.png: not a readable image",), 0, tmp_path / bad / "x")
    monkeypatch.setattr("srkit_prepare.run.prepare", lambda *args, **options: done)
    assert main(["prepare", str(tmp_path), str(tmp_path / bad)]) == 1
    out, err = capsys.readouterr()
    assert err == r"srkit: \x1b[31m\nsrkit: \x07.png: not a readable image" + "\n"
    assert len(out.splitlines()) == 1
    assert out.endswith(r"\x1b[31m\nsrkit: \x07/x" + "\n")
