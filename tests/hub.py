"""A Hugging Face Hub for tests: what huggingface_hub asks for, from a thread of this process."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """Files by commit, commits by branch, and what the model card says."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        number = len(self.commits) + 1
        name = hashlib.sha1(f"{number}{sorted(files)}".encode()).hexdigest()
        self.commits[name] = files
        self.refs[branch] = name
        return name

    def resolved(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass
class Hub:
    """The repositories, the requests made so far, and an ETag in the files' own's place.

    Attributes:
        hostile: Answers in the hub's place where it returns True; called with the handler and
            ``info`` (of the repository), ``head`` or ``file``, and the answer that is due.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    tag: str = ""
    hostile: Callable[[Any, str, bytes], bool] = lambda *_: False

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())


@contextmanager
def running() -> Iterator[Hub]:
    """Serve a hub on a free port of this machine."""
    hub = Hub()

    class Handler(_Handler):
        its = hub

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asks may leave
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    its: Hub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        self.its.requests.append(f"{self.command} {unquote(path)}")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            name, revision = "/".join(parts[2:4]), "/".join(parts[5:]) or "main"
        else:
            name, revision = "/".join(parts[:2]), parts[3]
        repository = self.its.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound", "Repository not found")
        if repository.gated:
            return self._refuse(403, "GatedRepo", "Access to this model is restricted")
        commit = repository.resolved(revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        files = repository.commits[commit]
        if parts[0] == "api":
            about = {
                "id": name,
                "sha": commit,
                "siblings": [{"rfilename": file} for file in files],
                "cardData": repository.card,
            }
            answer = json.dumps(about).encode()
            if self.its.hostile(self, "info", answer):
                return None
            return self._send(answer, commit, body=True)
        content = files.get("/".join(parts[4:]))
        if content is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit)
        if self.its.hostile(self, "file" if body else "head", content):
            return None
        return self._send(content, commit, body=body)

    def _send(self, content: bytes, commit: str, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", commit)
        tag = self.its.tag or hashlib.sha256(content).hexdigest()
        self.send_header("ETag", f'"{tag}"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.end_headers()
