"""Models from the Hub: pinned at their first use, checked ever after, and clear when it fails.

A server of this process answers; the library that asks is the real one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hub
import huggingface_hub.constants
import pytest
import safetensors
import torch
from huggingface_hub import utils
from huggingface_hub.utils import logging
from safetensors.torch import load_file, save, save_file

import srkit
from srkit import InputError, registry
from srkit.files import sha256
from srkit.imaging import codec
from srkit.models import hub as hf
from srkit.models import pins

Cli = Callable[..., tuple[int, str, str]]
NAME = "hf://somebody/faces"


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SRKIT_PINS", str(tmp_path / "data" / "pins.json"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    with hub.running() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        yield started


@pytest.fixture(scope="module")
def weights() -> bytes:
    """The shipped model's file: any srkit checkpoint would do."""
    return shipped().read_bytes()


def shipped() -> Path:
    file: Path = registry.build("models", "faces").file
    return file


def other(weights: bytes, tmp_path: Path) -> bytes:
    """The same network with another weight."""
    file = tmp_path / "other.safetensors"
    file.write_bytes(weights)
    tensors = load_file(file)
    tensors["generator.head.bias"] += 1
    with safetensors.safe_open(file, framework="pt") as handle:
        return save(tensors, handle.metadata())


def stored() -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = json.loads(pins.location().read_text())
    return rows


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf://a/b", hf.Reference("a/b")),
        ("hf://a/b@v1.0", hf.Reference("a/b", None, "v1.0")),
        ("hf://a/b@refs/pr/3", hf.Reference("a/b", None, "refs/pr/3")),
        ("hf://a/b/x/y.pth@main", hf.Reference("a/b", "x/y.pth", "main")),
        (f"hf://a-1/b_2.c#sha256={'Ab' * 32}", hf.Reference("a-1/b_2.c", None, None, "ab" * 32)),
        (f"hf://a/b/c.onnx@d#sha256={'0' * 64}", hf.Reference("a/b", "c.onnx", "d", "0" * 64)),
    ],
)
def test_a_name_is_taken_apart(name: str, expected: hf.Reference) -> None:
    found = hf.parse(name)
    assert found == expected
    assert hf.parse(str(found)) == hf.Reference(found.repo, found.file, found.revision)


@pytest.mark.parametrize(
    "name",
    [
        "hf://a",
        "hf://",
        "hf:///a/b",
        "hf://a/b/",
        "hf://a/b@",
        "hf://a/../b",
        "hf://a/b/../../c.pth",
        "hf://a/b@../x",
        "hf://a/b#sha256=12",
        "hf://a/b#md5=12",
        "hf://a/b c",
        "hf://a/b\n",
    ],
)
def test_a_name_that_is_none_says_the_form(name: str) -> None:
    with pytest.raises(InputError, match=r"is no model on the Hub; the form is hf://OWNER/NAME"):
        srkit.load(name)


# --- pins ---------------------------------------------------------------------------------------


def test_the_first_use_pins_and_the_second_asks_nobody(
    server: hub.Hub, weights: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = server.repository("somebody/faces")
    repository.card = {"license": "mit"}
    commit = repository.commit({"model.safetensors": weights, "README.md": b"Hello"})
    first = srkit.load(NAME, device="cpu")
    plain = srkit.load("faces", device="cpu")
    assert (first.name, first.scale, first.licence) == (NAME, 4, "mit")
    assert first.sha256 == plain.sha256
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(first.enlarge(lr), plain.enlarge(lr))
    full = f"{NAME}/model.safetensors@{commit}#sha256={plain.sha256}"
    assert first.metadata["pinned"] == full
    assert (
        stored()[NAME].items()
        >= {
            "commit": commit,
            "file": "model.safetensors",
            "sha256": plain.sha256,
            "licence": "mit",
        }.items()
    )
    asked = len(server.requests)
    assert asked
    assert srkit.load(NAME, device="cpu").metadata["pinned"] == full
    assert srkit.load(f"{NAME}#sha256={plain.sha256}", device="cpu").sha256 == plain.sha256
    assert len(server.requests) == asked
    assert srkit.load(full, device="cpu").sha256 == plain.sha256  # a name of its own
    assert capsys.readouterr() == ("", "")


def test_a_branch_that_moves_does_not_move_what_is_pinned(
    server: hub.Hub, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = server.repository("somebody/faces")
    first = repository.commit({"model.safetensors": weights})
    pinned = srkit.load(NAME, device="cpu")
    second = repository.commit({"model.safetensors": other(weights, tmp_path)})
    assert srkit.load(NAME, device="cpu").sha256 == pinned.sha256
    # Another machine's cache: downloaded again, from the pinned commit.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub 2"))
    again = srkit.load(NAME, device="cpu")
    assert again.sha256 == pinned.sha256
    assert f"@{first}#" in again.metadata["pinned"]
    named = srkit.load(f"{NAME}@{second}", device="cpu")
    assert named.sha256 != pinned.sha256
    assert pins.forget(NAME).commit == first
    assert srkit.load(NAME, device="cpu").sha256 == named.sha256


def test_bytes_that_changed_are_refused(server: hub.Hub, weights: bytes, tmp_path: Path) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    srkit.load(NAME, device="cpu")
    found = hf.cached(NAME, pins.read()[NAME])
    assert found is not None
    blob = found.resolve()
    blob.write_bytes(other(weights, tmp_path))
    with pytest.raises(InputError, match=r"the bytes have changed .*; delete .* to download") as e:
        srkit.load(NAME, device="cpu")
    assert "\n" not in str(e.value)
    assert str(blob) in str(e.value)
    blob.unlink()  # as the line says
    assert srkit.load(NAME, device="cpu").sha256 == sha256(shipped())


def test_a_hub_that_serves_other_bytes_for_a_pinned_commit_is_refused(
    server: hub.Hub, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = server.repository("somebody/faces")
    commit = repository.commit({"model.safetensors": weights})
    srkit.load(NAME, device="cpu")
    repository.commits[commit]["model.safetensors"] = other(weights, tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="the bytes have changed"):
        srkit.load(NAME, device="cpu")


def test_a_sum_in_the_name_is_checked_before_anything_is_pinned(
    server: hub.Hub, weights: bytes
) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    wrong = f"{NAME}#sha256={'0' * 64}"
    with pytest.raises(InputError, match=f"has sha256 [0-9a-f]+, not {'0' * 64}"):
        srkit.load(wrong)
    assert pins.read() == {}
    srkit.load(NAME, device="cpu")
    with pytest.raises(InputError, match=f"is pinned to sha256 [0-9a-f]+, not {'0' * 64}"):
        srkit.load(wrong)


def test_pins_that_cannot_be_read_are_not_passed_over(server: hub.Hub, weights: bytes) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    pins.location().parent.mkdir()
    for text in ("{", "[1]", '{"hf://somebody/faces": {"commit": 3}}'):
        pins.location().write_text(text)
        with pytest.raises(InputError, match=r"pins\.json: pins that can't be read"):
            srkit.load(NAME)
        assert pins.location().read_text() == text


def test_pins_that_cannot_be_written_say_so(
    server: hub.Hub, weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRKIT_PINS", str(tmp_path / "file" / "pins.json"))
    with pytest.raises(InputError, match=r"can't write pins to .*set SRKIT_PINS"):
        srkit.load(NAME)


def test_of_two_that_pin_at_once_one_waits_and_takes_the_others_pin() -> None:
    entered, go_on = threading.Event(), threading.Event()
    made = pins.Pin("c" * 40, "model.safetensors", "0" * 64, "mit", "2026-01-01")

    def slowly() -> pins.Pin:
        entered.set()
        assert go_on.wait(30)
        return made

    def never() -> pins.Pin:
        raise AssertionError("asked the Hub although another was about to pin")

    with ThreadPoolExecutor() as pool:
        first = pool.submit(pins.add, NAME, slowly)
        assert entered.wait(30)
        second = pool.submit(pins.add, NAME, never)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.3)
        go_on.set()
        assert first.result(30) == second.result(30) == made
    assert pins.read() == {NAME: made}


def test_the_librarys_progress_bars_and_warnings_are_off_only_meanwhile(
    server: hub.Hub, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    download, level = huggingface_hub.hf_hub_download, logging.get_verbosity()
    seen: list[tuple[bool, int]] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.append((utils.are_progress_bars_disabled(), logging.get_verbosity()))
        return download(*args, **kwargs)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", watched)
    srkit.load(NAME, device="cpu")
    assert set(seen) == {(True, logging.ERROR)}
    assert (utils.are_progress_bars_disabled(), logging.get_verbosity()) == (False, level)


# --- which file ---------------------------------------------------------------------------------


def test_which_file_is_meant(server: hub.Hub, weights: bytes) -> None:
    repository = server.repository("somebody/faces")
    repository.commit({"config.json": b"{}", "sub/x4.safetensors": weights})
    assert "/sub/x4.safetensors@" in srkit.load(NAME, device="cpu").metadata["pinned"]
    repository.commit({"a.safetensors": weights, "b.safetensors": weights}, "two")
    with pytest.raises(InputError, match=r"several weights.*: a\.safetensors, b\.safetensors"):
        srkit.load(f"{NAME}@two")
    chosen = srkit.load(f"{NAME}/b.safetensors@two", device="cpu")
    assert "/b.safetensors@" in chosen.metadata["pinned"]
    assert chosen.licence == "unknown"
    with pytest.raises(InputError, match=r"no such file in it \(did you mean 'b\.safetensors'"):
        srkit.load(f"{NAME}/c.safetensors@two")
    repository.commit({"README.md": b""}, "none")
    with pytest.raises(InputError, match="no weights in it"):
        srkit.load(f"{NAME}@none")


def test_the_card_says_the_licence_and_else_the_file(server: hub.Hub, tmp_path: Path) -> None:
    from spandrel.architectures.Compact import Compact

    file = tmp_path / "net.safetensors"
    state = Compact(num_feat=4, num_conv=1, upscale=2).state_dict()
    save_file(state, file, {"modelspec.license": "CC-BY-4.0"})
    repository = server.repository("somebody/net")
    repository.commit({"net.safetensors": file.read_bytes()})
    assert srkit.load("hf://somebody/net", device="cpu").licence == "CC-BY-4.0"
    repository.card = {"license": "other", "license_name": "faces-only"}
    assert srkit.load("hf://somebody/net@main", device="cpu").licence == "faces-only"


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf://nobody/nothing", "no such repository at http://127"),
        ("hf://somebody/faces@v9", "no such revision in it"),
        ("hf://somebody/gated", "accept its terms at http://127"),
    ],
)
def test_what_is_not_there_is_one_line(
    server: hub.Hub,
    weights: bytes,
    refused: Callable[..., str],
    tmp_path: Path,
    name: str,
    said: str,
) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    server.repository("somebody/gated").gated = True
    picture = tmp_path / "face.png"
    codec.to_image(torch.rand(3, 8, 8)).save(picture)
    assert said in refused("upscale", picture, "--model", name)
    assert pins.read() == {}


def test_a_pinned_model_needs_no_network_and_a_new_one_says_that_it_does(
    weights: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with hub.running() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        started.repository("somebody/faces").commit({"model.safetensors": weights})
        srkit.load(NAME, device="cpu")
    assert srkit.load(NAME, device="cpu").scale == 4
    for name in (f"{NAME}@main", "hf://somebody/other"):
        with pytest.raises(InputError, match=r"isn't in the cache, and http://127.* fails: ") as e:
            srkit.load(name)
        assert "\n" not in str(e.value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(InputError, match=r"isn't in the cache, and http://127"):
        srkit.load(NAME)


def test_models_lists_what_is_pinned_and_forgets_it(
    server: hub.Hub, weights: bytes, cli: Cli, refused: Callable[..., str]
) -> None:
    repository = server.repository("somebody/faces")
    repository.card = {"license": "mit"}
    commit = repository.commit({"model.safetensors": weights})
    srkit.load(NAME, device="cpu")
    status, out, err = cli("models")
    assert (status, err) == (0, "")
    (row,) = (line for line in out.splitlines() if line.startswith(NAME))
    assert row.split()[1:5] == ["4", "2.8", "MB", "mit"]
    assert commit[:12] in row
    status, out, _ = cli("info", NAME)
    assert status == 0
    assert f"{NAME}/model.safetensors@{commit}#sha256=" in out
    assert "704,355" in out
    assert "isn't pinned (did you mean 'hf://somebody/faces'?)" in refused(
        "models", "--forget", "hf://somebody/face"
    )
    status, out, _ = cli("models", "--forget", NAME)
    assert status == 0
    assert commit in out
    assert pins.read() == {}
