"""Put all peers through `srkit bench`: one table, one protocol, the same files.

    python benchmarks/peers/run.py --envs ENVS --work WORK --threads 2 -- \
        --data celeba --verify imm --verify-data imm-frontal --embedder-weights FACENET.pt

What stands after ``--`` goes to `srkit bench` as it is. Every peer gets an environment of its own
under ENVS. Pictures and the full report stay under WORK; only figures are committed. A run that was
killed goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import published

HERE = Path(__file__).parent
READY = "ready"  # in an environment: the digest of what was installed
NPM_FILES = ("package.json", "package-lock.json")


@dataclass(frozen=True)
class Peer:
    """One column.

    Attributes:
        name: Of the column.
        script: File in this folder; the environment is called and installed after it.
        options: Of the script.
        npm: Whether a folder of npm's packages goes with it, called as the script is.
    """

    name: str
    script: str
    options: tuple[str, ...] = ()
    npm: bool = False


PEERS = (
    Peer("dat-light", "dat_light"),
    Peer("real-esrgan-x4plus", "real_esrgan", ("--model", "x4plus")),
    Peer("real-esrgan-animevideov3", "real_esrgan", ("--model", "animevideov3")),
    Peer("esrgan-slim", "esrgan_slim", npm=True),
)


def run(command: Sequence[str | Path], **variables: str) -> None:
    """Run a command, its output on stderr, with these variables set for it.

    Raises:
        CalledProcessError: It failed.
    """
    print("$", shlex.join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run(
        list(map(str, command)), check=True, stdout=sys.stderr, env={**os.environ, **variables}
    )


def environment(peer: Peer, envs: Path) -> Path:
    """Return the Python of a peer's environment, made if it isn't there or is out of date.

    Raises:
        CalledProcessError: Something can't be installed.
    """
    where = envs.absolute() / peer.script
    python = where / "bin" / "python"
    wanted = [HERE / f"{peer.script}.txt"]
    wanted += [HERE / peer.script / name for name in NPM_FILES] if peer.npm else []
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in wanted)).hexdigest()
    ready = where / READY
    if ready.is_file() and ready.read_text(encoding="utf-8") == digest:
        return python
    run([sys.executable, "-m", "venv", "--clear", where])
    run([python, "-m", "pip", "install", "--quiet", "--requirement", wanted[0]])
    if peer.npm:
        modules = where / peer.script
        modules.mkdir()
        for file in wanted[1:]:
            shutil.copy(file, modules)
        # Peer dependencies would bring all of TensorFlow.js; what is needed of it is in the lock.
        quiet = ("--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund")
        path = f"{where / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        run([where / "bin" / "npm", "ci", *quiet, "--prefix", modules], PATH=path)
    ready.write_text(digest, encoding="utf-8")
    return python


def python_of(name: str, envs: Path) -> Path:
    """Return the Python of a peer by its name; see `environment`."""
    (peer,) = (each for each in PEERS if each.name == name)
    return environment(peer, envs)


def enlarged(peers: Sequence[Peer], arguments: argparse.Namespace) -> dict[str, str]:
    """Let every peer enlarge ``WORK/lr`` into ``WORK/sr/NAME``.

    Returns:
        Those that failed, and why: they are left out of the table, and named beneath it.
    """
    failed, threads = {}, str(arguments.threads)
    for peer in peers:
        try:
            python = environment(peer, arguments.envs)
            folders = (arguments.work / "lr", arguments.work / "sr" / peer.name)
            own = ("--threads", threads, *peer.options)
            run([python, HERE / f"{peer.script}.py", *folders, *own], OMP_NUM_THREADS=threads)
        except subprocess.CalledProcessError as error:
            failed[peer.name] = f"{Path(str(error.cmd[0])).name} ended with {error.returncode}"
            print(f"{peer.name}: {failed[peer.name]}; left out", file=sys.stderr)
    return failed


def parsed() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--envs", type=Path, required=True, help="folder of environments")
    parser.add_argument("--work", type=Path, required=True, help="folder of images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="faces", help="srkit's")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--json", type=Path, default=HERE.parent / "results" / "peers.json")
    parser.add_argument("--table", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("bench", nargs="*", help="options of srkit bench, after --")
    return parser.parse_args()


def main() -> int:
    """Install, enlarge, score; write JSON and table."""
    arguments = parsed()
    peers = [peer for peer in PEERS if peer.name in (arguments.only or [peer.name])]
    work = arguments.work
    bench = (sys.executable, "-m", "srkit", "bench")
    run([*bench, arguments.model, *arguments.bench, "--write-lr", work / "lr"])
    ours = ("--model", arguments.model, "--threads", str(arguments.threads))
    srkit = [HERE / "srkit_model.py", work / "lr", work / "sr" / "srkit", *ours]
    run([sys.executable, *srkit], OMP_NUM_THREADS=str(arguments.threads))
    failed = enlarged(peers, arguments)
    made = [peer for peer in peers if peer.name not in failed]
    results = [f"--results={peer.name}={work / 'sr' / peer.name}" for peer in made]
    report = work / "bench.json"
    run([*bench, arguments.model, *arguments.bench, *results, "--json", report])
    seconds = {peer.name: work / "sr" / peer.name for peer in made}
    seconds[arguments.model] = work / "sr" / "srkit"
    found = published.collected(report, seconds, failed)
    published.write(arguments.json, json.dumps(found, indent=1) + "\n")
    published.write(arguments.table, published.markdown(found))
    print(arguments.table.read_text(encoding="utf-8"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
