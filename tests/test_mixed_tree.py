"""Files of a phone, a scanner and an image generator: done truly, or named with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from carriers import SIZE
from mixed_tree import make
from PIL import Image
from test_carried import has

from srkit.imaging import carried, formats

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.drill)])
def test_every_file_is_done_truly_or_named(tmp_path: Path, cli: Cli, count: int) -> None:
    files = make(tmp_path / "in", count)
    words = ("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", "lanczos")
    words += ("--scale", "2", "--device", "cpu", "--skip-existing", "--json", "--keep-time")
    status, out, err = cli(*words)
    assert (status, err) == (1, "")
    events = [json.loads(line) for line in out.splitlines()]
    by_file = {Path(event["input"]): event for event in events if "input" in event}
    assert set(by_file) == set(files)
    assert {fate.split()[0] for fate, _ in files.values()} >= {"ignored", "done", "row", "not"}
    results = []
    for file, (fate, content) in files.items():
        event = by_file[file]
        if fate == "ignored":
            assert event["event"] == "ignored", event
        elif fate != "done" and not fate.startswith("row "):
            assert event["event"] == "failed", event
            assert fate in event["error"]
        else:
            assert event["event"] == "done", event
            (result,) = map(Path, event["files"])
            results.append(result)
            check(result, file, fate, content, event.get("notes", []))
    assert len(set(results)) == len(results)
    assert len(results) > count // 2
    states = {result: result.stat() for result in results}
    _, again, _ = cli(*words)
    kinds = [json.loads(line)["event"] for line in again.splitlines()]
    assert kinds.count("skipped") == len(results)
    assert "done" not in kinds
    assert {result: result.stat() for result in results} == states
    found = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert {f for f in found if ".srkit-upscale" not in f.parts} == set(results)
    assert all(file.read_bytes() == content for file, (_, content) in files.items())


def check(result: Path, file: Path, fate: str, content: bytes, notes: list[str]) -> None:
    """See that a result is whole, upright and twice as large, and what the table says of it."""
    with Image.open(file) as image, Image.open(result) as larger:
        source = {"MPO": "JPEG"}.get(str(image.format), str(image.format))
        larger.load()
        assert sorted(larger.size) == sorted((2 * SIZE[0], 2 * SIZE[1]))
    assert result.stat().st_mtime_ns == file.stat().st_mtime_ns
    if fate == "done":
        return
    item, target = carried.BY_NAME[fate.removeprefix("row ")], formats.format_of(result)
    outcome = item.outcome(source, target)
    said = any(item.what in note for note in notes) if item.what else False
    assert said == (outcome == carried.NOTED), (file, notes)
    if item.name != "EXIF":  # whose size in `has` is that of an image that isn't turned
        assert has(item.name, result, content, target) == (outcome != carried.NOTED), file
