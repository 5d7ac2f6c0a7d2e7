"""A hostile hub: 50 ways to answer; each ends in time, in one line or in the right model."""

from __future__ import annotations

import hashlib
import json
import resource
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hub
import huggingface_hub.constants
import pytest
from srkit_hub import hub as client

import srkit
from srkit import InputError, registry

NAME = "hf://somebody/faces"
MOST_SECONDS = 30.0
MOST_MEMORY = 512 << 20  # bytes beyond what the process had
Answer = Callable[[Any, bytes], None]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub.Hub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "a" / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    with hub.running() as started:
        monkeypatch.setenv("HF_ENDPOINT", started.url)
        started.repository("somebody/faces").commit(
            {"model.safetensors": weights(), "README.md": b"---\nlicense: mit\n---\n"}
        )
        yield started


def weights() -> bytes:
    file: Path = registry.build("models", "faces-clean").file
    return file.read_bytes()


# --- ways to answer -----------------------------------------------------------------------------


def answer(status: str = "200 OK", body: bytes | None = None, **changes: str) -> Answer:
    """Answer plainly, with headers of one's own; those of the hub where they aren't named."""

    def send(handler: Any, content: bytes) -> None:
        sent = content if body is None else body
        own = {key.replace("_", "-"): value for key, value in changes.items()}
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        commit = next(iter(handler.its.repositories["somebody/faces"].commits))
        plain = {"ETag": tag, "X-Repo-Commit": commit, "Content-Length": str(len(sent))}
        lines = [
            f"HTTP/1.1 {status}",
            "Connection: close",
            *(f"{k}: {v}" for k, v in {**plain, **own}.items() if v),
        ]
        handler.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if handler.command != "HEAD":
            handler.wfile.write(sent)

    return send


def about(**changes: Any) -> Answer:
    """Answer with other facts of the repository."""

    def send(handler: Any, content: bytes) -> None:
        answer(body=json.dumps({**json.loads(content), **changes}).encode())(handler, content)

    return send


def dripping(head: bytes, byte: bytes = b"x", pause: float = 0.5) -> Answer:
    """Never end: a byte at a time."""

    def send(handler: Any, content: bytes) -> None:
        handler.wfile.write(head)
        for _ in range(int(120 / pause)):
            handler.wfile.write(byte)
            handler.wfile.flush()
            time.sleep(pause)

    return send


def flood(head: bytes, piece: bytes) -> Answer:
    """Never end: as fast as can be."""

    def send(handler: Any, content: bytes) -> None:
        handler.wfile.write(head)
        for _ in range(1 << 16):
            handler.wfile.write(piece)

    return send


def silence(handler: Any, content: bytes) -> None:
    time.sleep(40)


def nothing(handler: Any, content: bytes) -> None:
    handler.close_connection = True


def raw(text: bytes) -> Answer:
    def send(handler: Any, content: bytes) -> None:
        handler.wfile.write(text)
        handler.close_connection = True

    return send


def cut(handler: Any, content: bytes) -> None:
    answer(body=content[: len(content) // 2], Content_Length=str(len(content)))(handler, content)
    handler.close_connection = True


def other_bytes(handler: Any, content: bytes) -> None:
    answer(body=bytes(len(content)))(handler, content)


def fast_then_dripping(handler: Any, content: bytes) -> None:
    dripping(f"HTTP/1.1 200 OK\r\nContent-Length: {10**9}\r\n\r\n".encode() + bytes(1 << 24))(
        handler, content
    )


def bomb(handler: Any, content: bytes) -> None:
    """256 MB of nothing."""
    gzip = zlib.compressobj(1, wbits=31)
    body = b"".join([*(gzip.compress(bytes(1 << 20)) for _ in range(256)), gzip.flush()])
    answer(body=body, Content_Encoding="gzip")(handler, content)


def chunked(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


OK = b"HTTP/1.1 200 OK\r\n"
LONG = OK + f"Content-Length: {10**12}\r\n\r\n".encode()
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
COMMIT = "a" * 40
LIMITED = "429 Too Many Requests"
# Step, what is answered there, and whether the model may come out none the less.
BEHAVIOURS: dict[str, tuple[str, Answer, bool]] = {
    "sha-leads-out": ("info", about(sha="../../../evil"), False),
    "sha-absolute": ("info", about(sha="/tmp/evil"), False),
    "sha-short": ("info", about(sha="abc"), False),
    "sha-capitals": ("info", about(sha="A" * 40), False),
    "sha-newline": ("info", about(sha="a" * 39 + "\n"), False),
    "sha-number": ("info", about(sha=7), False),
    "sha-null": ("info", about(sha=None), False),
    "sha-of-nothing": ("info", about(sha=COMMIT), False),
    "sha-long": ("info", about(sha="a" * 100_000), False),
    "file-leads-out": ("info", about(siblings=[{"rfilename": "../../../evil.pth"}]), False),
    "file-absolute": ("info", about(siblings=[{"rfilename": "/tmp/evil.safetensors"}]), False),
    "file-backslashes": ("info", about(siblings=[{"rfilename": "..\\..\\evil.pth"}]), False),
    "file-escapes": ("info", about(siblings=[{"rfilename": "\x1b[2J\nsrkit: ok.pth"}]), False),
    "file-nul": ("info", about(siblings=[{"rfilename": "a\0b.pth"}]), False),
    "file-long": ("info", about(siblings=[{"rfilename": "a" * 5000 + ".pth"}]), False),
    "files-numbers": ("info", about(siblings=[{"rfilename": 5}]), False),
    "files-no-list": ("info", about(siblings=5), False),
    "files-none": ("info", about(siblings=None), False),
    "files-many": ("info", about(siblings=[{"rfilename": f"{n}.pth"} for n in range(99_999)]),
                   False),
    "info-no-json": ("info", answer(body=b"<html>"), False),
    "info-number": ("info", answer(body=b"5"), False),
    "info-deep": ("info", answer(body=b"[" * 200_000), False),
    "info-digits": ("info", answer(body=b'{"sha":' + b"9" * 9999 + b"}"), False),
    "info-empty": ("info", answer(body=b""), False),
    "info-bomb": ("info", bomb, False),
    "info-flood": ("info", flood(LONG, b" " * 65536), False),
    "info-drips": ("info", dripping(LONG, b" "), False),
    "info-silent": ("info", silence, False),
    "info-closes": ("info", nothing, False),
    "info-no-http": ("info", raw(b"SSH-2.0-OpenSSH_9.9\r\n"), False),
    "info-headers-drip": ("info", dripping(OK + b"X-A: "), False),
    "info-headers-flood": ("info", flood(OK, b"X-A: " + b"a" * 4000 + b"\r\n"), False),
    "info-waits": ("info", answer(LIMITED, Retry_After="999999999"), False),
    "info-redirects": ("info", answer("302 Found", Location="/api/models/somebody/faces"), False),
    "info-to-a-file": ("info", answer("302 Found", Location="file:///etc/passwd"), False),
    "tag-leads-out": ("head", answer(ETag='"../../../../evil"'), False),
    "tag-linked-leads-out": ("head", answer(X_Linked_ETag='"../../../../evil"'), False),
    "tag-long": ("head", answer(ETag=f'"{"a" * 5000}"'), False),
    "tag-none": ("head", answer(ETag=""), False),
    "commit-leads-out": ("head", answer(X_Repo_Commit="../../../../evil"), False),
    "head-other-commit": ("head", answer(X_Repo_Commit=COMMIT), True),
    "head-huge": ("head", answer(Content_Length=str(10**15)), False),
    "head-negative": ("head", answer(Content_Length="-5"), False),
    "head-elsewhere": ("head", answer(
        X_Xet_Hash="a" * 64, X_Xet_Refresh_Route="http://127.0.0.1:9/token"), True),
    "file-cut": ("file", cut, False),
    "file-other-bytes": ("file", other_bytes, False),
    "file-drips": ("file", dripping(LONG), False),
    "file-fast-then-drips": ("file", fast_then_dripping, False),
    "file-chunks-drip": ("file", dripping(CHUNKED, b"1\r\nx\r\n"), False),
    "file-waits": ("file", answer(LIMITED, RateLimit='"api";r=0;t=99999999'), False),
}  # fmt: skip


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


def peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def attacked(
    server: hub.Hub, behaviour: str, tmp_path: Path, patience: float = client.PATIENCE
) -> None:
    """Load a model from a hub that misbehaves, then from the same one as it should be."""
    where, send, usable = BEHAVIOURS[behaviour]

    def hostile(handler: Any, step: str, content: bytes) -> bool:
        handler.close_connection = True
        if step != where:
            return False
        send(handler, content)
        return True

    server.hostile = hostile
    began, before, size = time.monotonic(), files(tmp_path), peak()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "PATIENCE", patience)
            model = srkit.load(NAME, device="cpu")
    except InputError:
        pass
    else:
        assert usable
        assert model.sha256 == hashlib.sha256(weights()).hexdigest()
    assert time.monotonic() - began < MOST_SECONDS
    assert peak() - size < MOST_MEMORY
    outside = files(tmp_path) - before
    assert all(file.startswith("a/hub/") for file in outside), outside
    assert not Path("/tmp/evil").exists()
    server.hostile = lambda *_: False
    assert srkit.load(NAME, device="cpu").sha256 == hashlib.sha256(weights()).hexdigest()


def test_there_are_fifty() -> None:
    assert len(BEHAVIOURS) == 50


@pytest.mark.drill
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_hostile_hub_gets_nowhere(server: hub.Hub, tmp_path: Path, behaviour: str) -> None:
    attacked(server, behaviour, tmp_path)


@pytest.mark.parametrize(
    "behaviour", ["info-drips", "info-bomb", "file-chunks-drip", "file-other-bytes", "info-waits"]
)
def test_a_hub_that_drips_floods_or_lies_is_left(
    server: hub.Hub, tmp_path: Path, behaviour: str
) -> None:
    attacked(server, behaviour, tmp_path, patience=1.0)


@pytest.mark.drill
def test_a_slow_but_steady_hub_is_waited_for(server: hub.Hub) -> None:
    began = time.monotonic()

    def slow(handler: Any, step: str, content: bytes) -> bool:
        handler.close_connection = True
        if step != "file":
            return False
        answer(body=b"", Content_Length=str(len(content)))(handler, content)
        for start in range(0, len(content), 60_000):
            handler.wfile.write(content[start : start + 60_000])
            time.sleep(1.5)
        return True

    server.hostile = slow
    assert srkit.load(NAME, device="cpu").licence == "mit"
    assert time.monotonic() - began > client.PATIENCE
