"""Two machines, as two network namespaces of this one, with an address each: ``nox -s long``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from training import same_tensors, same_within_rounding, tiny_gan

from srkit.models import checkpoint
from srkit.training import run_folder

pytestmark = pytest.mark.long

ADDRESSES = ("10.213.77.1", "10.213.77.2")
PORT = "29511"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def power_off(node: str) -> None:
    """Kill whatever runs in a namespace; torchrun's processes are in sessions of their own."""
    running = subprocess.run(
        ["ip", "netns", "pids", node], check=False, capture_output=True, text=True
    )
    for pid in running.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def nodes() -> Iterator[tuple[str, str]]:
    """Make two namespaces that reach each other, and nothing else; give their names."""
    if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces take Linux, root and iproute2's ip")
    names = (f"srkit{os.getpid()}a", f"srkit{os.getpid()}b")
    try:
        ip("netns", "add", names[0])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        ip("netns", "add", names[1])
        ends = (("veth", "netns", name) for name in names)
        first, second = ends
        ip("link", "add", *first, "type", "veth", "peer", "name", *second)
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "veth")
            ip("-n", name, "link", "set", "veth", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            power_off(name)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def launch(nodes: tuple[str, str], *words: str) -> list[subprocess.Popen[str]]:
    """Start ``srkit train`` on both, as docs/training.md says."""
    return [
        subprocess.Popen(
            [
                *("ip", "netns", "exec", node, sys.executable, "-m", "torch.distributed.run"),
                *("--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1"),
                *("--master-addr", ADDRESSES[0], "--master-port", PORT),
                *("-m", "srkit", "train", *words),
            ],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "veth"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, node in enumerate(nodes)
    ]


def end(launched: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """Wait for both; return what they wrote."""
    return [process.communicate(timeout=300) for process in launched]


def test_two_machines_train_what_one_process_trains_and_resume_after_a_kill(
    tmp_path: Path, photos: Path, run: Callable[..., Any], nodes: tuple[str, str]
) -> None:
    recipe = tiny_gan(
        steps=40, batch_size=16, validate_every=20, **{"optimizer.learning_rate": 1e-4}
    )
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())
    words = [str(file), "--data", str(photos), "--device", "cpu", "--checkpoint-every", "10"]
    together, torn = tmp_path / "together", tmp_path / "torn"
    launched = launch(nodes, *words, "--out", str(together))
    outputs = end(launched)
    assert [process.returncode for process in launched] == [0, 0], outputs
    assert [out.count("PSNR") for out, _ in outputs] == [1, 0]  # one process speaks
    assert "2 processes" in " ".join(outputs[0][1].split())
    alone = run(recipe, out=tmp_path / "alone", log_every=50, checkpoint_every=10)
    last = checkpoint.checkpoints(together)[-1]
    same_within_rounding(checkpoint.checkpoints(together)[0], alone.checkpoint, last)

    launched = launch(nodes, *words, "--out", str(torn))
    while len(checkpoint.checkpoints(torn)) < 2:
        assert launched[0].poll() is None, end(launched)
        time.sleep(0.02)
    power_off(nodes[1])
    outputs = end(launched)
    assert launched[0].returncode != 0
    assert "another process of this run has ended" in outputs[0][1]
    assert "[rank0]:" not in outputs[0][1]  # a traceback
    assert run_folder.step_of(checkpoint.checkpoints(torn)[-1]) < 40
    launched = launch(nodes, *words, "--out", str(torn), "--resume")
    outputs = end(launched)
    assert [process.returncode for process in launched] == [0, 0], outputs
    same_tensors(last, checkpoint.checkpoints(torn)[-1])
    same_tensors(together / checkpoint.MODEL, torn / checkpoint.MODEL)
