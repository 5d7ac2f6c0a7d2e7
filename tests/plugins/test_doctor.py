"""What ``srkit doctor`` says of a machine that is in order, and of one that isn't."""

from __future__ import annotations

import dataclasses
import re
import socket
import sys
from pathlib import Path

import pytest
import srkit_doctor
from srkit_doctor import checks

from srkit import plugins, registry
from srkit.cli import main


def test_a_machine_in_order_is_described_offline_and_nothing_is_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checks, "ROUNDS", 1)
    monkeypatch.delenv("SRKIT_FACENET_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", "/nowhere")  # its weights could be downloaded
    real = socket.socket.connect
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path / "nowhere"))
    status = main(["doctor"])
    text = capsys.readouterr().out
    assert status == 0, text
    assert "!!" not in text
    for title in checks.SECTIONS:
        assert title in text.splitlines()
    assert "faces-x8" in text
    assert "chosen here" in text
    assert "set SRKIT_DATA" in text
    assert socket.socket.connect is real
    assert re.search(r"^-- embedder facenet .*\n +-> .*SRKIT_FACENET_WEIGHTS", text, re.MULTILINE)


def test_changed_weights_are_broken_and_the_exit_status_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "faces.safetensors"
    file.write_bytes(b"not the weights")
    ready = dataclasses.replace(registry.build("models", "faces"), file=file)
    real = registry.build
    monkeypatch.setattr(
        registry,
        "build",
        lambda kind, name, **o: ready if name == "faces" else real(kind, name, **o),
    )
    monkeypatch.setattr(checks, "SECTIONS", {"Models": checks.models})
    assert main(["doctor"]) == 1
    assert "was changed" in capsys.readouterr().out
    file.unlink()
    assert main(["doctor"]) == 1
    assert "is missing" in capsys.readouterr().out


def test_data_sets_that_are_there_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("celeba", "imm", "notes"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SRKIT_DATA", str(tmp_path))
    assert [finding.what for finding in checks.data()] == ["folder", "celeba", "imm"]


def test_plugins_that_are_broken_or_wait_for_an_extra_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = plugins.Plugin("theirs", "1", "theirs", "theirs")
    states = [
        dataclasses.replace(entry, state="broken: ImportError: no"),
        dataclasses.replace(entry, entry_point="dlib", state="needs srkit[dlib]"),
    ]
    monkeypatch.setattr(plugins, "load", lambda: plugins.Loaded(tuple(states), ()))
    count, broken, waiting = checks.plugin_states()
    assert count.state == "0 of 2"
    assert broken.broken
    assert waiting.todo == "pip install 'srkit[dlib]'"
    assert not waiting.broken


def test_a_cache_that_cannot_be_written_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "file"))
    (finding,) = checks.cache()
    assert finding.broken
    assert finding.todo == "set SRKIT_CACHE"


def test_names_do_not_steer_the_terminal() -> None:
    lines = srkit_doctor._lines([srkit_doctor.Finding("a\x1b", "b\n", "c\x07")])
    assert list(lines) == [r"-- a\x1b  b\n", r"      -> c\x07"]


def test_a_terminal_wraps_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        srkit_doctor.Finding("metric lpips", "lacks", "fetch https://example.org/a-b.pth " * 3)
    ]
    (line, todo) = srkit_doctor._lines(found)
    assert len(todo) > 80
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    first, *wrapped = srkit_doctor._lines(found)
    assert first == line
    assert len(wrapped) > 1
    assert max(map(len, wrapped)) <= 60
    assert " ".join(" ".join(wrapped).split()) == " ".join(todo.split())
