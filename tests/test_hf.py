"""Models from the Hub: which commit a name means, what is kept, and clear lines when it fails.

A server of this process answers; the library that asks is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from srkit_hub.hub import Reference, parse

import srkit
from srkit import InputError, registry
from srkit.files import sha256
from srkit.imaging import codec

Cli = Callable[..., tuple[int, str, str]]
NAME = "hf://somebody/faces"
CARD = b"---\nlicense: mit\n---\nHello"


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf://a/b", Reference("a/b")),
        ("hf://a/b@v1.0", Reference("a/b", None, "v1.0")),
        ("hf://a/b@refs/pr/3", Reference("a/b", None, "refs/pr/3")),
        ("hf://a/b/x/y.pth@main", Reference("a/b", "x/y.pth", "main")),
        ("hf://a-1/b_2.c/c.onnx@d", Reference("a-1/b_2.c", "c.onnx", "d")),
    ],
)
def test_a_name_is_taken_apart(name: str, expected: Reference) -> None:
    found = parse(name)
    assert found == expected
    assert str(found) == name


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
        "hf://a/b c",
        "hf://a/b\n",
    ],
)
def test_a_name_that_is_none_says_the_form(name: str) -> None:
    with pytest.raises(InputError, match=r"is no model on the Hub; the form is hf://OWNER/NAME"):
        srkit.load(name)


# --- commits ------------------------------------------------------------------------------------


def test_without_a_commit_the_newest_is_taken_and_said(
    server: hub.Hub,
    weights: bytes,
    tmp_path: Path,
    cli: Cli,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository = server.repository("somebody/faces")
    commit = repository.commit({"model.safetensors": weights, "README.md": CARD})
    # One engine for both: it would be ONNX Runtime for the shipped model alone.
    first, plain = (srkit.load(name, device="cpu", engine="torch") for name in (NAME, "faces"))
    assert (first.name, first.scale, first.licence) == (NAME, 4, "mit")
    assert first.sha256 == plain.sha256
    lr = torch.rand(1, 3, 8, 8)
    assert torch.equal(first.upscale(lr), plain.upscale(lr))
    assert first.metadata["source"] == f"{NAME}/model.safetensors@{commit}"
    assert capsys.readouterr() == ("", "")
    newer = repository.commit({"model.safetensors": other(weights, tmp_path)})
    codec.to_image(torch.rand(3, 8, 8)).save(tmp_path / "face.png")
    status, _, err = cli("upscale", tmp_path / "face.png", "--model", NAME, "--device", "cpu")
    assert status == 0
    assert f"model {NAME}/model.safetensors@{newer}" in err
    assert srkit.load(f"{NAME}@{commit}", device="cpu").sha256 == plain.sha256


def test_a_commit_needs_no_network_and_other_names_say_that_they_do(
    weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub.running() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        repository = started.repository("somebody/faces")
        commit = repository.commit({"model.safetensors": weights, "README.md": CARD})
        model = srkit.load(NAME, device="cpu")
        asked = len(started.requests)
        again = srkit.load(model.metadata["source"], device="cpu")
        assert len(started.requests) == asked
    for name in (f"{NAME}@{commit}", model.metadata["source"]):
        again = srkit.load(name, device="cpu")
        assert (again.sha256, again.licence) == (sha256(shipped()), "mit")
        assert again.metadata == model.metadata
    for name in (NAME, f"{NAME}@main", f"{NAME}/other.safetensors@{commit}"):
        with pytest.raises(InputError, match=r"isn't in the cache, and http://127.* fails: ") as e:
            srkit.load(name)
        assert "\n" not in str(e.value)


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
    assert "/sub/x4.safetensors@" in srkit.load(NAME, device="cpu").metadata["source"]
    repository.commit({"a.safetensors": weights, "b.safetensors": weights}, "two")
    with pytest.raises(InputError, match=r"several weights.*: a\.safetensors, b\.safetensors"):
        srkit.load(f"{NAME}@two")
    chosen = srkit.load(f"{NAME}/b.safetensors@two", device="cpu")
    assert "/b.safetensors@" in chosen.metadata["source"]
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
    files = {"net.safetensors": file.read_bytes()}
    repository.commit(files)
    assert srkit.load("hf://somebody/net", device="cpu").licence == "CC-BY-4.0"
    for card, licence in (
        (b"---\nlicense: other\nlicense_name: faces-only\n---\n", "faces-only"),
        (b"---\nlicense: [mit, cc0-1.0]\n---\n", "mit, cc0-1.0"),
        (b"---\nlicense: [\n---\n", "CC-BY-4.0"),
        (b"---\nlicense: {mit: [1]}\n---\n", "CC-BY-4.0"),
        (b"No metadata.", "CC-BY-4.0"),
    ):
        repository.commit({**files, "README.md": card})
        assert srkit.load("hf://somebody/net", device="cpu").licence == licence


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
    image = tmp_path / "face.png"
    codec.to_image(torch.rand(3, 8, 8)).save(image)
    assert said in refused("upscale", image, "--model", name)


def test_a_hub_that_names_no_commit_writes_nowhere(
    server: hub.Hub, weights: bytes, tmp_path: Path
) -> None:
    repository = server.repository("somebody/faces")
    repository.commits["../../../evil"] = {"model.safetensors": weights}
    repository.refs["main"] = "../../../evil"
    with pytest.raises(InputError, match=r"the Hub names no commit \(\.\./\.\./\.\./evil\)"):
        srkit.load(NAME)
    assert not list(tmp_path.rglob("*"))


def test_a_hub_whose_tag_leads_elsewhere_writes_nothing(
    server: hub.Hub, weights: bytes, tmp_path: Path
) -> None:
    server.repository("somebody/faces").commit({"model.safetensors": weights})
    server.tag = "../../../../evil"
    with pytest.raises(InputError, match=r"no safe name for a file: \.\./\.\./\.\./\.\./evil"):
        srkit.load(NAME)
    assert not [file for file in tmp_path.parent.rglob("*") if "evil" in file.name]


def test_what_is_known_of_it_is_shown(server: hub.Hub, weights: bytes, cli: Cli) -> None:
    repository = server.repository("somebody/faces")
    commit = repository.commit({"model.safetensors": weights, "README.md": CARD})
    status, out, _ = cli("info", NAME)
    assert status == 0
    assert f"{NAME}/model.safetensors@{commit}" in out
    assert "4,512,844" in out
