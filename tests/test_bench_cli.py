"""``srkit bench`` as its users meet it: from files to a report, other programs, refusals."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from forks import Fork
from PIL import Image
from test_reproduce import Eye
from torch import Tensor

import srkit
from srkit.cli import main
from srkit.cli.bench import by_name, parse_sizes, weights_of
from srkit.errors import InputError
from srkit.evaluation import run as runner
from srkit.evaluation.identity.embed import Verifier
from srkit.evaluation.methods import Method, methods
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.report import Report
from srkit.evaluation.run import PARTIAL, bench, face_set
from srkit.evaluation.store import Store

Crops = Callable[[Path, int, int], list[Path]]


@pytest.fixture(scope="module")
def photos(crops: Crops, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench-cli") / "photos"
    crops(folder, 8, 64)
    return folder


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("SRKIT_DATA", raising=False)
    monkeypatch.delenv("SRKIT_FACENET_WEIGHTS", raising=False)


def run(*arguments: object) -> int:
    return main(["bench", *map(str, arguments)])


def without_time(file: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for key in ("seconds", "notes"):
        (result["quality"] or {}).pop(key, None)
    result.pop("run")
    return result


def portraits(root: Path) -> None:
    """Write three photos of each of two people."""
    portrait = Image.fromarray(skimage.data.astronaut()).crop((120, 0, 330, 250))
    for person, turn in (("ann", 0), ("bob", 8)):
        (root / person).mkdir(parents=True)
        for number in range(3):
            photo = portrait.rotate(turn + 3 * number, Image.Resampling.BICUBIC)
            photo.save(root / person / f"{number}.png")


# --- reports ------------------------------------------------------------------------------------


def test_one_command_makes_tables_a_page_and_files(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("faces", "--data", photos, "--report", out) == 0
    printed = capsys.readouterr().out
    for name in ("nearest", "bicubic", "lanczos", "faces"):
        assert name in printed
    assert printed.splitlines()[-1].replace("\n", "") == str(out / "index.html")
    report = Report.read(out)
    assert report.quality is not None
    assert list(report.models) == ["nearest", "bicubic", "lanczos", "faces"]
    assert report.run["command"].startswith("srkit")
    assert not (out / PARTIAL).exists()
    assert (out / "scores.csv").read_text(encoding="utf-8").count("\n") == 1 + 4 * 8
    page = (out / "index.html").read_text(encoding="utf-8")
    assert f"{report.quality.mean('faces', 'psnr'):.2f}" in page


def test_an_audit_is_the_protocol_and_its_neighbours(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "audit.json"
    assert run("lanczos", "--data", photos, "--protocol", "paper", "--audit", "--json", file) == 0
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


def test_metrics_and_seed_can_be_asked_for(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    protocol = tmp_path / "mine.toml"
    protocol.write_text('metrics = ["psnr"]\n')
    where = ("bicubic", "--data", photos, "--protocol", protocol, "--json", file)
    assert run(*where, "--metric", "lsd", "--seed", 3) == 0
    quality = Report.read(file).quality
    assert quality is not None
    assert list(quality.metrics) == ["psnr", "lsd"]
    assert quality.protocol["seed"] == 3
    assert quality.protocol["name"] == "mine"


def test_a_bench_that_was_killed_goes_on_and_ends_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, out, calls = (tmp_path / name for name in ("undisturbed", "out", "calls"))
    where = ("bicubic", "--data", photos, "--batch-size", 2)
    assert run(*where, "--report", undisturbed) == 0

    def slow(models: list[Method], protocol: Protocol) -> list[Method]:
        def slowed(method: Method) -> Method:
            def upscale(lr: Tensor) -> Tensor:
                with calls.open("a") as file:
                    file.write(".")
                time.sleep(0.15)
                return method.upscale(lr)

            return replace(method, upscale=upscale)

        return [slowed(method) for method in methods(models, protocol)]

    with monkeypatch.context() as patch:
        patch.setattr(runner, "methods", slow)
        fork = Fork(tmp_path, lambda: run(*where, "--report", out))
    # Three references a batch: the first two of four batches are stored.
    fork.wait_until(lambda: calls.is_file() and calls.stat().st_size >= 7)
    assert fork.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert (out / PARTIAL).is_file()
    assert not (out / "report.json").exists()
    assert run(*where, "--report", out) == 0
    quality = Report.read(out).quality
    assert quality is not None
    assert any("before an interruption" in note for note in quality.notes)
    assert not (out / PARTIAL).exists()
    assert without_time(out / "report.json") == without_time(undisturbed / "report.json")


def test_an_interrupt_says_what_is_stored(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "bench", interrupted)
    for where, message in (((), "faces and embeddings"), (("--report", tmp_path), "and scores")):
        assert run("--data", photos, *where) == 130
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert line.endswith("are stored, and the same command goes on")


def test_interpolations_that_are_named_have_rows_in_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srkit_facenet.embedder.FaceNet", Eye)
    portraits(tmp_path)
    where = ("--verify", "folders", "--verify-data", tmp_path, "--people", 2, "--pairs", 2)
    file = tmp_path / "report.json"
    for names in (("lanczos", "nearest"), ("faces",)):
        rows = sorted({"bicubic", *names})
        assert run(*names, *where, "--lr-sizes", 16, "--device", "cpu", "--json", file) == 0
        report = Report.read(file)
        assert report.distances is not None
        assert report.pairs is not None
        by_size = report.pairs.sizes[0].scores
        for shown in (report.distances.methods, report.pairs.scores, by_size):
            assert sorted(set(shown) - {"LR", "HR"}) == rows


# --- other programs -----------------------------------------------------------------------------


def test_another_program_is_a_method(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lr, sr, file = tmp_path / "lr", tmp_path / "sr", tmp_path / "report.json"
    assert run("--data", photos, "--write-lr", lr) == 0
    assert capsys.readouterr().out == f"{lr}: 8 images to be upscaled by 4\n"
    sr.mkdir()
    for image in lr.iterdir():
        with Image.open(image) as small:
            small.resize((64, 64), Image.Resampling.BICUBIC).save(sr / image.name)
    assert run("--data", photos, "--results", f"pillow={sr}", "--json", file) == 0
    quality = Report.read(file).quality
    assert quality is not None
    assert quality.models == ["pillow"]
    # Pillow rounds to 8 bits between its two passes, torch once at the end.
    assert quality.mean("pillow", "psnr") == pytest.approx(
        quality.mean("bicubic", "psnr"), abs=0.02
    )
    next(sr.iterdir()).unlink()
    assert run("--data", photos, "--results", f"pillow={sr}") == 2
    assert "is missing; upscale all" in capsys.readouterr().err


def test_every_face_another_program_is_asked_for_is_written(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = data_root / "weights" / "facenet-casia-webface.pt"
    monkeypatch.setenv("SRKIT_FACENET_WEIGHTS", str(weights))
    few = tmp_path / "few"
    few.mkdir()
    for photo in ("01_01", "01_02", "01_03", "02_01", "02_02"):
        shutil.copy(data_root / "imm-frontal" / f"{photo}.jpg", few)
    where = ("--verify", "imm", "--verify-data", few, "--people", 1, "--pairs", 2)
    where += ("--lr-sizes", "8,16")
    lr, sr = tmp_path / "lr", tmp_path / "sr"
    assert run(*where, "--write-lr", lr) == 0
    sr.mkdir()
    for image in lr.iterdir():
        with Image.open(image) as small:
            size = small.width * 4, small.height * 4
            small.resize(size, Image.Resampling.NEAREST).save(sr / image.name)
    file = tmp_path / "report.json"
    assert run(*where, "--results", f"theirs={sr}", "--json", file) == 0
    report = Report.read(file)
    for part in (report.distances, report.everybody):
        assert part is not None
        assert part.methods == ["LR", "bicubic", "theirs", "HR"]
        assert part.mean("HR") < part.mean("theirs")
    assert report.pairs is not None
    assert [size.lr_size for size in report.pairs.sizes] == [8, 16]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--protocol", "papr"), "no protocol 'papr' (did you mean 'paper'?)"),
        (("--metric", "psnrr"), "unknown metric 'psnrr' (did you mean 'psnr'?); known metrics: "),
        (("nobody",), "no model 'nobody'"),
        (("--verify", "im"), "unknown face set 'im' (did you mean 'imm'?)"),
        (("--verify-data", "x"), "--verify-data needs --verify"),
        (("--people", "0"), "--people needs --verify"),
        (("--embedder", "sface"), "--embedder needs --verify"),
        (("--align", "celeba"), "--align needs --verify"),
        (("--audit", "--protocol", "real"), "an audit compares with HR, and protocol 'real' has"),
        (("--verify", "imm", "--lr-sizes", "8,x"), "--lr-sizes is whole numbers from 4 up"),
        (
            ("--verify", "imm", "--align", "up", "--verify-data", "."),
            "align is hr, sr, celeba, not 'up'",
        ),
        (
            ("--verify", "folders", "--align", "celeba", "--protocol", "basicsr"),
            "--align celeba: protocol 'basicsr' frames no photos (its framing is whole, not",
        ),
        (("--results", "theirs"), "--results is NAME=DIR"),
        (("--device", "abacus"), "no device 'abacus' here"),
        (("--data", "nowhere"), "no photos at 'nowhere'"),
        (("--data", "empty"), " in it (.avif, "),
        (("--verify", "folders", "--verify-data", "nowhere"), "no face set 'folders' at 'nowhere'"),
        (("--verify", "folders", "--verify-data", "empty"), "no folders of photos in it"),
        (("--verify", "imm", "--verify-data", "empty"), "no photos named like IMM's"),
        (("--audit", "--verify", "imm"), "--audit goes with models, --data, --protocol"),
        (("--audit", "--precision", "bf16"), "--audit goes with models, --data, --protocol"),
        (("--json", "empty"), "can't write empty: it is a folder"),
        (("--report", "file/x/y"), "can't write file/x/y/report.json: Not a directory"),
        (("--json", "file/x.json"), "can't write file/x.json: Not a directory"),
    ],
)
def test_a_wrong_choice_is_one_line_before_anything_is_computed(
    arguments: tuple[str, ...],
    message: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    monkeypatch.setattr(runner, "measure", None)  # calling it would be a traceback
    assert run("--data", photos, *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("srkit: ")
    assert message in line
    assert sorted(f.name for f in tmp_path.iterdir()) == ["empty", "file"]


def test_missing_weights_are_missed_before_anything_is_computed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named(tmp_path, "01_01.png", "01_02.png")
    where = ("--data", photos, "--verify", "imm", "--verify-data", tmp_path)
    assert run(*where, "--embedder-weights", tmp_path / "none.pt") == 2
    message = capsys.readouterr()
    assert "none.pt: no such file" in message.err
    assert message.out == ""


def test_nothing_that_is_read_is_written_over(
    photos: Path, tmp_path: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, weights = tmp_path / "photos", tmp_path / "x.safetensors"
    shutil.copytree(photos, data)
    weights.write_text("of a network")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    photo = next(iter(sorted(data.iterdir())))
    monkeypatch.chdir(tmp_path)
    run_of = Path("runs/mine/model.safetensors")
    run_of.parent.mkdir(parents=True)
    shutil.copy(weights, run_of)
    before |= {tmp_path / run_of: run_of.read_bytes()}
    for model, json_file in (("bicubic", photo), (weights, weights), ("mine", run_of)):
        line = refused("bench", model, "--data", data, "--json", json_file)
        assert f"{json_file} is an input; choose another place" in line
    for folder, option in product((data, data / "lr"), ("--write-lr", "--report")):
        line = refused("bench", "bicubic", "--data", data, option, folder)
        assert f"{folder} lies among the photos of {data}; choose another place" in line
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before
    assert run("bicubic", "--data", data, "--limit", 2, "--json", data / "scores.json") == 0
    assert run("bicubic", "--data", data, "--limit", 2, "--json", data / "scores.json") == 0


def test_several_judges_measure_the_same_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As each alone, by the same results, which are upscaled once; one's JSON has no judges."""
    monkeypatch.setattr("srkit_facenet.embedder.FaceNet", Eye)
    people, upscaled = tmp_path / "people", list[int]()
    portraits(people)
    upscale = Verifier._upscale

    def counted(self: Verifier, hr: Tensor) -> Any:
        upscaled.append(len(hr))
        return upscale(self, hr)

    monkeypatch.setattr(Verifier, "_upscale", counted)
    where = ("--verify", "folders", "--verify-data", people, "--people", 2, "--pairs", 2)
    where += ("--lr-sizes", 16, "--device", "cpu", "--seed", 3)
    files = {}
    for judges in (("facenet",), ("dlib",), ("facenet", "dlib")):
        files[judges] = tmp_path / f"{'-'.join(judges)}.json"
        named = [text for judge in judges for text in ("--embedder", judge)]
        upscaled.clear()
        assert run(*where, *named, "--json", files[judges], "--report", tmp_path / "page") == 0
        # Pairs of 16 px are those of the curve, and the people drawn have other photos.
        assert len(upscaled) == (3 if len(judges) == 1 else 2)
    one, other, both = (without_time(files[judges]) for judges in files)
    assert "judges" not in {*one, *other}
    judged = both.pop("judges")
    assert both == one
    assert judged == {"dlib": {part: other[part] for part in ("distances", "everybody", "pairs")}}
    report = Report.read(files["facenet", "dlib"])
    assert list(report.judges) == ["dlib"]
    assert report.as_json() == json.loads(files["facenet", "dlib"].read_text())
    (table,) = [table for table in report.tables() if table.name == "judges"]
    assert [labels for labels, _ in table.rows[:3]] == [
        ["LR", "eye"],
        ["LR", "dlib"],
        ["bicubic", "eye"],
    ]
    for name in ("index.html", "report.md"):
        assert "All judges on the same faces" in (tmp_path / "page" / name).read_text()
    assert "dlib" in (tmp_path / "page" / "scores-identity.csv").read_text()


def test_whose_weights_they_are_must_be_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weights_of(["x=y.pt"], ["facenet"]) == {"facenet": Path("x=y.pt")}
    assert weights_of(["facenet=y.pt"], ["facenet"]) == {"facenet": Path("y.pt")}
    both = ["dlib=a.dat", "facenet=b.pt"]
    assert weights_of(both, ["facenet", "dlib"]) == {"dlib": Path("a.dat"), "facenet": Path("b.pt")}
    portraits(tmp_path)
    where = ("--verify", "folders", "--verify-data", tmp_path)
    for options, message in (
        (("--embedder", "dlib", "--embedder", "dlib"), "--embedder: one is named twice"),
        (
            ("--embedder", "facenet", "--embedder", "dlib", "--embedder-weights", "b.pt"),
            "--embedder-weights is NAME=FILE, not 'b.pt'",
        ),
        (
            ("--embedder", "dlib", *("--embedder-weights", "facenet=b") * 2),
            "--embedder-weights: two are called 'facenet'",
        ),
        (
            ("--embedder", "facenet", "--embedder", "dlib", "--embedder-weights", "sface=b"),
            "--embedder-weights: 'sface' is none of the embedders",
        ),
    ):
        assert run(*where, *options) == 2
        assert capsys.readouterr().err == f"srkit: {message}\n"
    with pytest.raises(InputError, match=r"of several: by name, facenet=FILE"):
        srkit.bench(
            verify="folders",
            verify_data=tmp_path,
            embedder=["facenet", "dlib"],
            embedder_weights="b.pt",
        )


def test_results_are_names_and_folders() -> None:
    assert by_name(["a=x", "b=y=z"]) == {"a": Path("x"), "b": Path("y=z")}
    for text in ("theirs", "=x", "theirs="):
        with pytest.raises(InputError, match="--results is NAME=DIR"):
            by_name([text])
    with pytest.raises(InputError, match="two are called 'a'"):
        by_name(["a=x", "a=y"])


def test_sizes_are_whole_numbers_in_order() -> None:
    assert parse_sizes("24, 8,16,8") == (8, 16, 24)
    assert parse_sizes("") == ()
    for text in ("3", "8;12", "-8", "8.5", "\N{SUPERSCRIPT TWO}"):
        with pytest.raises(InputError, match="--lr-sizes"):
            parse_sizes(text)


# --- face sets ----------------------------------------------------------------------------------


def named(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    return root


def test_imm_is_drawn_as_in_the_paper_and_whole(tmp_path: Path) -> None:
    root = named(tmp_path, *(f"{p:02d}_{n:02d}.png" for p in range(1, 8) for n in range(1, 6)))
    result = face_set("imm", root, Protocol())
    assert (len(result.drawn), len(result.people), result.everybody, result.pairs) == (
        5,
        7,
        True,
        0,
    )
    assert {len(person.photos) for person in result.drawn} == {3}
    assert face_set("imm", root, Protocol()) == result
    other = face_set("imm", root, Protocol(seed=1))
    assert other.drawn != result.drawn
    assert len(face_set("imm", root, Protocol(), people=2).drawn) == 2
    alone = face_set("imm", root, Protocol(), people=0, pairs=9)
    assert (alone.drawn, alone.everybody, alone.pairs) == ([], True, 9)


def test_other_sets_are_compared_by_pairs(tmp_path: Path) -> None:
    root = named(tmp_path, "ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png")
    result = face_set("folders", root, Protocol())
    assert (result.drawn, result.everybody, result.pairs) == ([], False, 1000)
    with pytest.raises(InputError, match="nothing to verify"):
        face_set("folders", root, Protocol(), pairs=0)
    with pytest.raises(InputError, match="one pair has no other person"):
        face_set("folders", root, Protocol(), pairs=1)
    assert len(face_set("folders", root, Protocol(), pairs=0, people=1).drawn) == 1


def test_a_report_folder_that_is_no_folder_is_one_line(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out"):
        bench("bicubic", data=photos, report=tmp_path / "out")
    assert Store(tmp_path / "none.sqlite").get("a", []) == {}
