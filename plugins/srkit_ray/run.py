"""A data set through the workers of a Ray cluster.

Ray only starts the workers, and says which of them end. What they read and write doesn't go
through it, so that its store stays empty, and a shard is done exactly once: where its manifest is.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from psutil import pid_exists

from srkit import InputError, OptionError, SrkitError
from srkit.batch.ledger import begin, require_free
from srkit.errors import Interrupted, one_line, terminated_as_interrupted
from srkit.files import lock
from srkit.imaging import formats
from srkit.lines import show, show_error
from srkit.readahead import cpus
from srkit_ray.plan import FORMAT, SETTINGS, Shard, plan, summary
from srkit_ray.worker import Outcome, Worker

TRIES = 3  # workers that a shard may end
PATIENCE = 120.0  # seconds without any worker, after which that is said
STORE = 100 << 20  # bytes of Ray's store where it is started here; nothing large goes there
# Read by Ray when it is imported: neither telemetry nor remarks on the terminal.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_DEDUP_LOGS": "0",  # what it keeps back is printed at the end
}


def run(
    source: str,
    out: Path,
    *,
    to: str | None,
    shard_size: int,
    column: str | None,
    workers: int | None,
    address: str | None,
    options: dict[str, Any],
) -> Counter[str]:
    """Upscale a data set, and print the results; one shard that fails leaves the others alone.

    ``options`` are those that `srkit.Upscaler` takes, the rest are the command's. Returned are the
    numbers of ``shards``, ``before`` (done by an earlier run), ``images``, ``failed`` (images) and
    ``lost`` (shards without a result). Interrupted: SIGINT or SIGTERM; what is done stays.
    """
    if suffix := options["suffix"]:
        formats.suffix_named(suffix)
    require_free(out / SETTINGS)
    planned = plan(source, out, shard_size)
    written = to or ("tar" if planned.kind == "folder" else planned.kind)
    ending = f".{written}"
    totals: Counter[str] = Counter(shards=len(planned.shards))
    reasons: list[str] = []
    numbers = itertools.count(1)

    def left(key: dict[str, Any]) -> Iterator[Shard]:
        begin(out / SETTINGS, planned.settings(written) | key, FORMAT)
        for shard in planned.shards:
            done = summary(out, shard, ending)
            if done is None:
                yield shard
            else:
                next(numbers)
                totals.update(before=1, images=done["images"], failed=done["failed"])

    def report(shard: Shard, outcome: Outcome) -> None:
        totals.update(images=outcome.images, failed=outcome.failed, lost=bool(outcome.error))
        number = next(numbers)
        if outcome.error:
            reasons.append(outcome.error)
            show_error(outcome.error)
        else:
            show(f"{out / shard.name}{ending} ({number} of {len(planned.shards)})")

    try:
        with lock(out), cluster(address, workers or 1) as ray, terminated_as_interrupted():
            resources = ray.cluster_resources()
            gpus = int(resources.get("GPU", 0)) if options["device"] != "cpu" else 0
            if options["device"] == "cuda" and not gpus:
                raise InputError("no GPU in this Ray cluster")
            count = workers or gpus or max(1, int(resources.get("CPU", 1)))
            options = options | {"device": "cuda" if gpus else "cpu"}
            remote = ray.remote(num_cpus=1, num_gpus=int(bool(gpus)))(Worker)

            def start() -> Any:
                return remote.remote(str(out.absolute()), ending, column, options)

            for shard, outcome in Pool(ray, start, min(count, len(planned.shards))).work(left):
                report(shard, outcome)
    except KeyboardInterrupt:
        done = sum(summary(out, shard, ending) is not None for shard in planned.shards)
        raise Interrupted(
            f"stopped with {done} of {len(planned.shards)} shards done; "
            "the same command goes on from there"
        ) from None
    if totals["lost"] == len(planned.shards):
        raise InputError(f"none of {totals['lost']} shards could be done; the first: {reasons[0]}")
    return totals


@contextmanager
def cluster(address: str | None, cores: int) -> Generator[Any]:
    """Connect to a Ray cluster, or start one here of at least ``cores``; leave or end it."""
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address == "local" and "RAY_AUTH_MODE" not in os.environ:  # else it keeps one in ~/.ray
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    import ray

    with _folder() as here:
        local = {
            "_temp_dir": here,
            "include_dashboard": False,
            "object_store_memory": STORE,
            "num_cpus": max(cores, cpus()),
        }
        how = local if address == "local" else {}
        try:
            with _silent():
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **how)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            why = f"{one_line(error):.300}"
            raise InputError(f"can't use the Ray cluster at '{address}': {why}") from error
        try:
            with redirect_stdout(_WithoutRay(sys.stdout)):
                yield ray
        finally:
            ray.shutdown()


class _WithoutRay:
    """A stream without what Ray's threads print: ten lines where a worker ends."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, if it is not Ray's."""
        if threading.current_thread().name.startswith("ray_"):
            return len(text)
        return int(self.stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _silent() -> Generator[None]:
    """Drop what Ray's C++ writes while it connects; its exception says it, too."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _folder() -> Generator[str]:
    """Make a folder for Ray's sockets and logs, which it would never delete."""
    # The paths of sockets must be short.
    top = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    prefix = "srkit-ray-"
    for old in top.glob(f"{prefix}*-*"):  # of killed processes
        process = old.name.removeprefix(prefix).partition("-")[0]
        if process.isdecimal() and not pid_exists(int(process)):
            shutil.rmtree(old, ignore_errors=True)
    here = tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=top)
    try:
        yield here
    finally:
        for _ in range(20):  # Ray's processes may still be writing
            shutil.rmtree(here, ignore_errors=True)
            if not Path(here).exists():
                break
            time.sleep(0.1)


class Pool:
    """Workers that each have a shard at a time; one that ends is replaced.

    `ray.util.ActorPool` hands out workers that have ended, and Ray's own restarts wait for a
    machine that may never come back.
    """

    def __init__(self, ray: Any, start: Callable[[], Any], count: int) -> None:
        self.ray, self.start = ray, start
        self.starting: dict[Any, Any] = {}
        self.busy: dict[Any, tuple[Any, Shard]] = {}
        self.idle: list[Any] = []
        self.key: dict[str, Any] | None = None
        self.ended = 0  # workers, since the last one that began
        for _ in range(count):
            self.begin()

    def begin(self) -> None:
        """Start one more worker."""
        worker = self.start()
        self.starting[worker.start.remote()] = worker

    def work(
        self, shards: Callable[[dict[str, Any]], Iterator[Shard]]
    ) -> Iterator[tuple[Shard, Outcome]]:
        """Yield what becomes of each shard; ``shards`` gets the first `srkit.Upscaler.key`.

        SrkitError: no worker can start, or they would give different results.
        """
        left: deque[Shard] = deque()
        tries: Counter[str] = Counter()
        waited = 0.0
        try:
            while self.key is None or left or self.busy:
                while self.idle and left:
                    worker, shard = self.idle.pop(), left.popleft()
                    self.busy[worker.do.remote(shard)] = (worker, shard)
                ready, _ = self.ray.wait([*self.starting, *self.busy], timeout=1.0)
                waited = 0.0 if ready or self.busy else waited + 1.0
                if waited == PATIENCE:
                    show_error("no worker has started yet: has the cluster a CPU or GPU free?")
                for reference in ready:
                    if reference in self.starting:
                        first = self.key is None
                        self._begun(reference)
                        if first and self.key is not None:
                            left.extend(shards(self.key))
                        continue
                    shard, outcome = self._done(reference)
                    tries[shard.name] += outcome is None
                    if outcome is None and tries[shard.name] < TRIES:
                        left.append(shard)
                        continue
                    why = f"{shard.name}: ended its worker {TRIES} times, maybe for want of memory"
                    yield shard, outcome or Outcome(error=why)
        finally:
            busy = [worker for worker, _ in self.busy.values()]
            for worker in [*self.idle, *self.starting.values(), *busy]:
                self.ray.kill(worker)

    def _begun(self, reference: Any) -> None:
        """Take a worker that has started, or another for one that has ended."""
        worker = self.starting.pop(reference)
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayActorError as error:
            self.ended += 1
            if self.ended >= TRIES and not self.busy and not self.idle:
                why = f"{one_line(error):.200}"
                raise SrkitError(f"{self.ended} workers ended while they started: {why}") from error
            self.begin()
            return
        if why := answer.get("error"):
            raise OptionError(why)
        key = answer["key"]
        if self.key is not None and key != self.key:
            what = ", ".join(name for name in key if key[name] != self.key.get(name))
            raise SrkitError(
                f"{answer['host']} would give other results than the machine that was asked "
                f"first: another {what}"
            )
        self.key, self.ended = key, 0
        self.idle.append(worker)

    def _done(self, reference: Any) -> tuple[Shard, Outcome | None]:
        """Return what became of a shard; None where its worker has ended."""
        worker, shard = self.busy.pop(reference)
        try:
            outcome: Outcome = self.ray.get(reference)
        except self.ray.exceptions.RayActorError:
            self.ray.kill(worker)  # it may only be out of reach
            self.begin()
            return shard, None
        except self.ray.exceptions.RayError as error:
            why = str(getattr(error, "cause", error)).strip().splitlines()[-1:]
            outcome = Outcome(error=f"{shard.name}: {' '.join(why)}")
        self.idle.append(worker)
        return shard, outcome
