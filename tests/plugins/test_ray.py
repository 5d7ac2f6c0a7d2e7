"""`srkit upscale-dataset`: shards and names, results and manifests, kills, and a cluster of two."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow
import pyarrow.parquet
import pytest
from forks import Fork
from PIL import Image
from srkit_ray.plan import FORMAT, SETTINGS, Shard, keys, plan, summary
from srkit_ray.worker import Outcome, Worker

from srkit import InputError, OptionError
from srkit.batch.ledger import begin
from srkit.cli import main

Crops = Callable[[Path, int, int], list[Path]]
BICUBIC = {"model": "bicubic", "device": "cpu"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux has them")


def members(*archives: Path) -> dict[str, bytes]:
    """Return what is in tar archives; no name may be there twice."""
    result: dict[str, bytes] = {}
    for file in archives:
        with tarfile.open(file) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                assert member.name not in result
                result[member.name] = content.read()
    return result


def archive(file: Path, content: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as out:
        for name, data in content.items() if isinstance(content, dict) else content:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return file


def manifest(out: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *lines, last = map(json.loads, (out / f"{name}.jsonl").read_text("utf-8").splitlines())
    return lines, last


def upscaled(folder: Path, out: Path, *options: str) -> dict[str, bytes]:
    """Return what ``srkit upscale`` writes of a folder."""
    main(["upscale", str(folder), "-o", str(out), "--device", "cpu", *options])
    files = (f for f in out.rglob("*") if f.is_file() and ".srkit-upscale" not in f.parts)
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def do(
    source: Path,
    out: Path,
    written: str = "tar",
    *,
    size: int = 1000,
    column: str | None = None,
    **options: Any,
) -> list[Outcome]:
    """Do all shards in this process, as a worker does them."""
    planned = plan(str(source), out, size)
    worker = Worker(str(out), f".{written}", column, {**BICUBIC, **options})
    begin(out / SETTINGS, planned.settings(written) | worker.start()["key"], FORMAT)
    return [worker.do(shard) for shard in planned.shards]


# --- what a data set consists of ------------------------------------------------------------------


def test_samples_of_images_have_keys_of_their_own() -> None:
    names = [
        "a.jpg",
        "a.png",
        "A.bmp",
        "b/a.jpg",
        "c.2019.jpg",
        "c.2020.jpg",
        "c_2019.png",
        "a-png.x",
    ]
    assert keys(names) == [
        "a",
        "a-png",
        "A-bmp",
        "b/a",
        "c_2019",
        "c_2020",
        "c_2019-png",
        "a-png-x",
    ]
    assert keys(["a-b.jpg", "a.jpg", "a.b", "a.b"]) == ["a-b", "a", "a-b-2", "a-b-3"]


def test_shards_of_a_folder_are_of_equal_size(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path / "in", 11, 8)
    planned = plan(str(tmp_path / "in"), tmp_path / "out", 5)
    assert planned.kind == "folder"
    assert [len(shard.files) for shard in planned.shards] == [3, 4, 4]
    listed = [name for shard in planned.shards for name, _ in shard.files]
    assert listed == [file.name for file in files]
    (tmp_path / "in" / "out").mkdir()
    files[0].rename(tmp_path / "in" / "out" / "x.png")  # results are no images
    again = plan(str(tmp_path / "in"), tmp_path / "in" / "out", 5)
    assert sum(len(shard.files) for shard in again.shards) == 10
    assert again.identity != planned.identity


def test_archives_keep_their_names(tmp_path: Path) -> None:
    for name in ("b/0.tar", "a/0.tar.gz", "1.tgz", ".hidden.tar", "out/0.tar"):
        archive(tmp_path / name, {})
    planned = plan(str(tmp_path), tmp_path / "out", 5)
    assert (planned.kind, [s.name for s in planned.shards]) == ("tar", ["1", "a/0", "b/0"])
    assert [s.name for s in plan(f"{tmp_path}/*/*.tar", tmp_path / "o", 5).shards] == [
        "b/0",
        "out/0",
    ]
    assert [s.name for s in plan(f"{tmp_path}/1.tgz", tmp_path / "o", 5).shards] == ["1"]
    archive(tmp_path / "1.TAR", {})
    with pytest.raises(InputError, match=r"1\.TAR and .*1\.tgz would both become 1; rename one"):
        plan(str(tmp_path), tmp_path / "out", 5)
    (tmp_path / "1.TAR").rename(tmp_path / "x.png")
    with pytest.raises(InputError, match="images, archives and Parquet are mixed; choose by a"):
        plan(str(tmp_path), tmp_path / "out", 5)
    (tmp_path / "x.png").rename(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="are mixed"):
        plan(str(tmp_path), tmp_path / "out", 5)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("none", "out"), "none: no such folder, tar archive or Parquet file"),
        (("empty", "out"), "empty: no images in it"),
        (("photos", "photos"), "photos holds something else than results"),
        (("photos", "out", "--format", "gif"), "can't write 'gif'"),
        pytest.param(
            ("photos", "out", "--address", "nowhere"),
            "can't use the Ray cluster at 'nowhere'",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_cannot_start_is_one_line(
    tmp_path: Path,
    crops: Crops,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    crops(tmp_path / "photos", 2, 8)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["upscale-dataset", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("srkit: ")
    assert why in line
    assert not (tmp_path / "out").exists()


def test_without_ray_a_line_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["upscale-dataset", "in", "out"]) == 2
    assert capsys.readouterr().err == (
        "srkit: upscale-dataset needs Ray: pip install 'srkit[ray]'\n"
    )


# --- what comes out -------------------------------------------------------------------------------


def test_images_of_a_folder_have_the_bytes_of_srkit_upscale(tmp_path: Path, crops: Crops) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    files = crops(folder / "sub", 7, 12)
    for file, suffix in zip(files, (".jpg", ".tif", ".webp"), strict=False):
        with Image.open(file) as image:
            image.save(file.with_name(f"photo{file.stem}{suffix}"), comment="kept")
    files[5].write_bytes(b"no image")
    (folder / "dead.png").symlink_to("nowhere")
    expected = upscaled(folder, tmp_path / "plain", "--model", "faces")
    outcomes = do(folder, out, size=6, model="faces")
    assert [(o.images, o.failed, o.error) for o in outcomes] == [(4, 1, ""), (5, 1, "")] or (
        sum(o.images for o in outcomes) == 9 and sum(o.failed for o in outcomes) == 2
    )
    assert members(*sorted(out.glob("*.tar"))) == expected
    lines, last = manifest(out, "shard-000000")
    assert lines[0] == {
        "input": "dead.png",
        "error": "dead.png: can't be read (No such file or directory)",
    }
    result = out / "shard-000000.tar"
    digest = hashlib.sha256(result.read_bytes()).hexdigest()
    assert (last["sha256"], last["bytes"]) == (digest, result.stat().st_size)
    named = {line["name"]: line for line in lines if "name" in line}
    assert named["sub/000001.png"] == {
        "name": "sub/000001.png",
        "input": "sub/000001.png",
        "sha256": hashlib.sha256(expected["sub/000001.png"]).hexdigest(),
    }
    errors = [line for line in manifest(out, "shard-000001")[0] if "error" in line]
    assert errors[0]["input"] == "sub/000006.png"


def test_archives_keep_their_other_files_and_their_order(tmp_path: Path, crops: Crops) -> None:
    image, other = (file.read_bytes() for file in crops(tmp_path / "in", 2, 8))
    archive(
        tmp_path / "shards" / "0.tar",
        [
            ("b/1.png", image), ("b/1.json", b'{"label": 1}'), ("b/1.mask.png", b"a mask"),
            ("2.left.png", other), ("2.cls", b"7"),
            ("3.a.png", image), ("3.b.png", image), ("3.cls", b"3"),
            ("4.cls", b"4"),
            ("5.png", b"no image"), ("5.cls", b"5"),
            ("2.png", image), ("6.png", image), ("6.png", other),
            ("no-key", b""), ("7.jpg", image),
        ],
    )  # fmt: skip
    archive(tmp_path / "shards" / "1.tar", {})
    (outcome, empty) = do(tmp_path / "shards", out := tmp_path / "out", suffix="webp")
    assert (outcome.images, outcome.failed) == (3, 5)
    result = members(out / "0.tar")
    assert list(result) == [
        *("b/1.webp", "b/1.json", "b/1.mask.png", "2.left.webp", "2.cls", "7.webp"),
    ]
    assert (result["b/1.mask.png"], result["2.cls"]) == (b"a mask", b"7")
    errors = [line["error"] for line in manifest(out, "0")[0] if "error" in line]
    assert errors == [
        "0.tar/3: no image among its files, or several",
        "0.tar/4: no image among its files, or several",
        "0.tar/5.png: not a readable image (of no known format)",
        "0.tar/2: its name stands twice in the shard",
        "0.tar/6: its name stands twice in the shard",
    ]
    assert empty == Outcome()
    assert members(out / "1.tar") == {}
    assert manifest(out, "1")[1]["images"] == 0


def test_a_cut_archive_gives_what_comes_before(tmp_path: Path, crops: Crops) -> None:
    content = {f"{file.stem}.png": file.read_bytes() for file in crops(tmp_path / "in", 9, 8)}
    whole = archive(tmp_path / "shards" / "0.tar", content)
    whole.write_bytes(whole.read_bytes()[: 7 * 1024 + 600])  # each has a block and a header
    (tmp_path / "shards" / "1.tar").write_bytes(b"x" * 5000)
    archive(tmp_path / "shards" / "2.tar.gz", content)
    cut, broken, compressed = do(tmp_path / "shards", out := tmp_path / "out")
    assert (cut.images, cut.failed) == (7, 1)
    assert "can't read" in manifest(out, "0")[0][-1]["error"]
    assert broken.error.startswith(f"can't read {tmp_path}/shards/1.tar: ")
    assert compressed == Outcome(9)
    names = sorted(file.name for file in out.iterdir())
    assert names == ["0.jsonl", "0.tar", "2.jsonl", "2.tar", "dataset.json"]


@pytest.fixture
def table(tmp_path: Path, crops: Crops) -> Path:
    """A Parquet file of eleven rows, two of which have no image that can be read."""
    images: list[bytes | None] = [f.read_bytes() for f in crops(tmp_path / "images", 11, 8)]
    images[3], images[7] = b"no image", None
    rows = {"id": list(range(11)), "image": images, "other": [b"x"] * 11, "nested": [[1, 2]] * 11}
    (tmp_path / "tables").mkdir()
    file = tmp_path / "tables" / "0.parquet"
    pyarrow.parquet.write_table(pyarrow.table(rows), file)
    return file


def test_columns_of_parquet_stay(tmp_path: Path, table: Path) -> None:
    expected = upscaled(tmp_path / "images", tmp_path / "plain", "--model", "bicubic")
    (outcome,) = do(table.parent, out := tmp_path / "out", "parquet")
    assert (outcome.images, outcome.failed) == (9, 2)
    result = pyarrow.parquet.read_table(out / "0.parquet")
    assert result.schema == pyarrow.parquet.read_schema(table)
    ids = [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert result["id"].to_pylist() == ids
    assert result["image"].to_pylist() == [expected[f"{n + 1:06d}.png"] for n in ids]
    assert result["nested"].to_pylist() == [[1, 2]] * 9
    errors = [line for line in manifest(out, "0")[0] if "error" in line]
    assert [line["input"] for line in errors] == ["0.parquet[3].png", "0.parquet[7]"]


def test_images_of_hugging_face_are_structs(tmp_path: Path, crops: Crops) -> None:
    (file,) = crops(tmp_path / "in", 1, 8)
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    cells = [{"bytes": file.read_bytes(), "path": "a/b.png"}, {"bytes": file.read_bytes()}]
    schema = pyarrow.schema({"photo": kind}, metadata={"huggingface": "{}"})
    pyarrow.parquet.write_table(pyarrow.table({"photo": cells}, schema), tmp_path / "0.parquet")
    assert do(tmp_path / "0.parquet", tmp_path / "o", "parquet", suffix="jpg") == [Outcome(2)]
    result = pyarrow.parquet.read_table(tmp_path / "o" / "0.parquet")
    assert result.schema.metadata == {b"huggingface": b"{}"}
    assert [cell["path"] for cell in result["photo"].to_pylist()] == ["a/b.jpg", None]
    assert all(cell["bytes"][:3] == b"\xff\xd8\xff" for cell in result["photo"].to_pylist())


def test_another_kind_of_shard_can_be_written(tmp_path: Path, table: Path) -> None:
    do(table, tmp_path / "tar", "tar")
    result = members(tmp_path / "tar" / "0.tar")
    assert len(result) == 18
    assert json.loads(result["0-00000010.json"])["id"] == 10
    do(tmp_path / "tar", tmp_path / "back", "parquet", model="lanczos")
    back = pyarrow.parquet.read_table(tmp_path / "back" / "0.parquet").to_pylist()
    assert [row["key"] for row in back][-1] == "0-00000010"
    assert json.loads(dict(back[0]["files"])["json"])["nested"] == [1, 2]
    (tmp_path / "images" / "000004.png").unlink()
    do(tmp_path / "images", tmp_path / "flat", "parquet")
    flat = pyarrow.parquet.read_table(tmp_path / "flat" / "shard-000000.parquet")
    assert flat.num_rows == 10
    assert flat["image"][0].as_py() == result["0-00000000.png"]


def test_the_column_of_images_must_be_clear(tmp_path: Path) -> None:
    file = tmp_path / "0.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [b"1"], "b": [b"2"], "c": [3]}), file)
    for column in (None, "c"):
        (outcome,) = do(file, tmp_path / "out", "parquet", column=column)
        assert outcome.error.endswith("which column has the images? --column NAME; of bytes: a, b")
    file.write_bytes(file.read_bytes()[:-9])
    (outcome,) = do(file, tmp_path / "other", "parquet")
    assert outcome.error.startswith(f"can't read {file}: ")


# --- going on -------------------------------------------------------------------------------------


def test_a_shard_is_done_while_it_and_its_input_are_unchanged(tmp_path: Path, crops: Crops) -> None:
    content = {f"{file.stem}.png": file.read_bytes() for file in crops(tmp_path / "in", 3, 8)}
    source = archive(tmp_path / "shards" / "0.tar", content)
    out = tmp_path / "out"

    def done() -> bool:
        (shard,) = plan(str(tmp_path / "shards"), out, 9).shards
        return summary(out, shard, ".tar") is not None

    assert not done()
    do(tmp_path / "shards", out)
    assert done()
    result, lines = out / "0.tar", out / "0.jsonl"
    whole, text = result.read_bytes(), lines.read_text()
    result.write_bytes(whole[:-512])
    assert not done()
    result.write_bytes(whole)
    lines.write_text(text[:-9])
    assert not done()
    lines.write_text(text)
    assert done()
    archive(source, dict(list(content.items())[:2]))
    assert not done()
    do(tmp_path / "shards", out)
    assert done()
    assert len(members(result)) == 2


def test_other_settings_and_other_images_are_refused(tmp_path: Path, crops: Crops) -> None:
    files = crops(tmp_path / "in", 3, 8)
    do(tmp_path / "in", out := tmp_path / "out", size=2)
    with pytest.raises(OptionError, match=r"begun with model bicubic, not \w+; choose another"):
        do(tmp_path / "in", out, size=2, model="lanczos")
    with pytest.raises(OptionError, match=r"format None, not \.webp"):
        do(tmp_path / "in", out, size=2, suffix="webp")
    with pytest.raises(OptionError, match="written as tar, not parquet"):
        do(tmp_path / "in", out, "parquet", size=2)
    files[0].unlink()
    with pytest.raises(OptionError, match=r"images [0-9a-f]{40}, not [0-9a-f]{40}; "):
        do(tmp_path / "in", out, size=2)
    (out / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match="'format' is missing"):
        do(tmp_path / "in", out, size=2)


def test_a_killed_worker_leaves_no_half_shard(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "in", 60, 8)
    out = tmp_path / "out"

    def work() -> int:
        do(tmp_path / "in", out, size=3)
        return 0

    fork = Fork(tmp_path, work)
    fork.wait_until(lambda: len(list(out.glob("*.jsonl"))) > 3)
    fork.end(signal.SIGKILL)
    shards = plan(str(tmp_path / "in"), out, 3).shards
    done = [shard for shard in shards if summary(out, shard, ".tar")]
    assert 3 < len(done) < len(shards)
    for shard in done:
        assert len(members(out / f"{shard.name}.tar")) == 3
    do(tmp_path / "in", out, size=3)
    assert len(members(*out.glob("*.tar"))) == 60
    assert not list(out.rglob("*.part"))


def test_a_folder_that_a_machine_does_not_see_is_named(tmp_path: Path, crops: Crops) -> None:
    crops(tmp_path / "in", 1, 8)
    worker = Worker(str(tmp_path / "out"), ".tar", None, BICUBIC)
    worker.start()
    shard = Shard("0", str(tmp_path / "in"), "", (("000001.png", "000001"),))
    assert "choose a folder that all machines see" in worker.do(shard).error


def test_a_model_that_is_not_there_is_an_answer() -> None:
    worker = Worker("out", ".tar", None, {"model": "faced", "device": "cpu"})
    assert "did you mean 'faces'" in worker.start()["error"]


# --- Ray ------------------------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    line = [sys.executable, "-m", "srkit", "upscale-dataset", *map(str, arguments)]
    return [*line, "--device", "cpu"]


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start the command in a session of its own."""
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        return subprocess.Popen(
            command(*arguments), stdout=out, stderr=err, text=True, start_new_session=True
        )


def waited(condition: Callable[[], object], seconds: float = 240) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def done_shards(out: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in out.glob("*.jsonl")}


@pytest.fixture
def data(tmp_path: Path, crops: Crops) -> Path:
    """400 images; one is broken."""
    files = crops(tmp_path / "in", 400, 16)
    files[77].write_bytes(b"no image")
    return tmp_path / "in"


class Node:
    """A node of a cluster on this machine: ``ray start --block`` in a session of its own."""

    def __init__(self, *arguments: str) -> None:
        start = "import ray.scripts.scripts as s; s.main()"
        line = [sys.executable, "-c", start, "start", "--block", "--num-cpus=1", *arguments]
        line += ["--object-store-memory=80000000", "--disable-usage-stats"]
        self.process = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def workers(self) -> list[psutil.Process]:
        """Return the processes of this node that do shards."""
        return self.named("ray::Worker")

    def named(self, name: str) -> list[psutil.Process]:
        """Return the processes whose names begin so."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [p for p in self.processes() if p.name().startswith(name)]
        return []

    def processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def kill(self) -> None:
        processes = self.processes()
        self.process.kill()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        psutil.wait_procs(processes, timeout=30)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Node, Node]]:
    """Two nodes with a CPU each, and their address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else the first keeps a token in ~/.ray
    with tempfile.TemporaryDirectory(
        prefix="srkit-", dir="/tmp", ignore_cleanup_errors=True
    ) as top:
        begun = [Node("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={top}")]
        try:
            assert waited(lambda: listens(port))
            begun.append(Node(f"--address=127.0.0.1:{port}"))
            # Its raylet starts these when the cluster knows it.
            assert waited(lambda: begun[1].named("ray::Dash"))
            yield f"127.0.0.1:{port}", *begun
        finally:
            for node in reversed(begun):
                node.kill()


@linux
@pytest.mark.long
@pytest.mark.parametrize("victim", ["worker", "node"])
def test_a_cluster_of_two_goes_on_without_a_worker_or_a_node(
    victim: str, tmp_path: Path, data: Path, nodes: tuple[str, Node, Node]
) -> None:
    address, _, second = nodes
    out = tmp_path / "out"
    process = started(tmp_path, data, out, "--shard-size", 10, "--address", address, "--workers", 2)
    assert waited(second.workers), (tmp_path / "stderr").read_text()
    assert waited(lambda: len(done_shards(out)) >= 4)
    assert len(done_shards(out)) < 40
    if victim == "node":
        second.kill()
    else:
        second.workers()[0].kill()
    assert process.wait(500) == 1
    *results, last = (tmp_path / "stdout").read_text().splitlines()
    assert last == "40 shards; 399 images, 1 failed, named in the manifests"
    assert len(results) == 40
    assert all(line.startswith(f"{out}/shard-") for line in results)
    assert (tmp_path / "stderr").read_text() == ""
    assert members(*out.glob("*.tar")) == upscaled(data, tmp_path / "plain")
    failed = [e for f in out.glob("*.jsonl") for e in f.read_text().splitlines() if '"error"' in e]
    assert len(failed) == 1
    assert "000078.png" in failed[0]


@linux
@pytest.mark.long
def test_a_killed_driver_loses_nothing_and_does_nothing_twice(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "out"
    arguments = (data, out, "--shard-size", 10, "--workers", 1)
    process = started(tmp_path, *arguments)
    assert waited(lambda: len(done_shards(out)) >= 4), (tmp_path / "stderr").read_text()
    processes = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    gone, alive = psutil.wait_procs(processes, timeout=300)  # Ray's agents look now and then
    assert gone
    assert not alive
    before = done_shards(out)
    assert len(before) < 40
    assert started(tmp_path, *arguments).wait(500) == 1
    after = done_shards(out)
    assert {name: after[name] for name in before} == before
    text = (tmp_path / "stdout").read_text().splitlines()
    assert text[-1].startswith(f"40 shards ({len(before)} done before); 399 images, 1 failed")
    assert len(text) == 41 - len(before)
    assert members(*out.glob("*.tar")) == upscaled(data, tmp_path / "plain")
    assert not list(out.rglob("*.part"))
    assert not list(Path("/tmp").glob(f"srkit-ray-{process.pid}-*"))  # swept by the second


@linux
@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line(tmp_path: Path, data: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    process = started(tmp_path, data, out, "--shard-size", 2, "--workers", 1)
    assert waited(lambda: len(done_shards(out)) >= 3), (tmp_path / "stderr").read_text()
    processes = psutil.Process(process.pid).children(recursive=True)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    assert process.wait(120) == 130
    (line,) = (tmp_path / "stderr").read_text().splitlines()
    assert line.startswith("srkit: stopped with ")
    assert line.endswith(" of 200 shards done; the same command goes on from there")
    assert not psutil.wait_procs(processes, timeout=30)[1]
    assert not list(out.rglob("*.part"))
    assert not list(Path("/tmp").glob(f"srkit-ray-{process.pid}-*"))
