"""What is looked at, section by section; every check catches what it runs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import srkit
from srkit import files, plugins, registry
from srkit.data import sources
from srkit.errors import SrkitError, escaped, one_line
from srkit.inference.device import cpu_flags
from srkit_doctor import Finding

PACKAGES = ("torch", "torchvision", "onnxruntime", "openvino", "kornia", "timm", "pillow")
FLAGS = ("avx2", "avx512f", "avx512_f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
SIDE = 64  # pixels of the image that engines are measured with
ROUNDS = 5


def versions() -> Iterator[Finding]:
    """Python, the system, and the packages that decide about results and speed."""
    system = f"{platform.system()} {platform.machine()}"
    yield Finding("srkit", f"{srkit.__version__}, Python {platform.python_version()}, {system}")
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield Finding(package, importlib.metadata.version(package))


def hardware() -> Iterator[Finding]:
    """The processor, its instructions, memory, and GPUs."""
    import torch

    text = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    flags = [flag for flag in FLAGS if flag in cpu_flags()]
    cores = psutil.cpu_count(logical=False) or os.cpu_count()
    what = name[1] if name else platform.processor() or platform.machine()
    known = f" ({', '.join(flags)})" if flags else ""
    yield Finding("processor", f"{what}, {cores} cores{known}")
    memory = psutil.virtual_memory()
    yield Finding(
        "memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB are free"
    )
    if not torch.cuda.is_available():
        other = "MPS" if torch.backends.mps.is_available() else "none; all of srkit runs without"
        yield Finding("GPU", other)
        return
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        yield Finding(f"cuda:{number}", f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GB")


def engines() -> Iterator[Finding]:
    """Each engine with the default model: its time, and how far it is from torch."""
    from srkit.inference.engines import TORCH, choose

    choice = choose()
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    reference: np.ndarray | None = None
    for name in (TORCH, *registry.offers("engines")):
        try:
            model = srkit.load(engine=name, precision="auto")
            result, seconds = _timed(model, image)
        except Exception as error:  # whatever an engine raises
            yield Finding(name, "fails", _line(error), broken=True)
            continue
        reference = result if reference is None else reference
        far = np.abs(result.astype(int) - reference.astype(int)).max()
        state = f"{seconds * 1000:.1f} ms for {SIDE}x{SIDE}"
        state += f", at most {far}/255 from torch" if name != TORCH else ""
        chosen = f"; chosen here: {choice.why}" if name == choice.engine else ""
        precision = model.choice.precision if model.choice else "fp32"
        yield Finding(name, f"{state}, {precision}{chosen}")


def _timed(model: srkit.Model, image: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the result and the least of some times."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = model.upscale(image)
        times.append(time.perf_counter() - start)
    return result, min(times)


def models() -> Iterator[Finding]:
    """Whether the weights of registered models are there, and theirs."""
    for name in registry.offers("models"):
        try:
            ready = registry.build("models", name)
        except SrkitError as error:
            yield Finding(name, "fails", _line(error), broken=True)
            continue
        if ready.file is None:
            continue
        if not ready.file.is_file():
            yield Finding(name, f"{ready.file} is missing", "install srkit again", broken=True)
        elif ready.sha256 and files.sha256(ready.file) != ready.sha256:
            yield Finding(name, f"{ready.file} was changed", "install srkit again", broken=True)
        else:
            yield Finding(name, f"{ready.file.stat().st_size / 1e6:.1f} MB, x{ready.scale}")


def weights() -> Iterator[Finding]:
    """Embedders, detectors and metrics, some of which need weights that srkit can't ship."""
    for kind in ("detectors", "embedders", "metrics", "set_metrics"):
        for name in registry.offers(kind):
            what = f"{registry.singular(kind)} {name}"
            try:
                with _offline():
                    registry.build(kind, name)
            except SrkitError as error:
                yield Finding(what, "lacks its weights", _line(error))
            except Exception as error:  # a stranger's part
                yield Finding(what, "fails", _line(error), broken=True)
            else:
                yield Finding(what, "ready")


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Let no connection be made: nothing may be downloaded here."""

    def refused(*_: Any) -> None:
        raise OSError("srkit doctor doesn't use the network")

    real = socket.socket.connect
    socket.socket.connect = refused  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.socket.connect = real  # type: ignore[method-assign]


def data() -> Iterator[Finding]:
    """The folder of data sets, and which of those that options name are in it."""
    folder = sources.data_folder()
    if not folder.is_dir():
        yield Finding("folder", f"{folder} isn't there", "set SRKIT_DATA to your data sets' folder")
        return
    yield Finding("folder", str(folder))
    for name in ("celeba", *registry.offers("face_sets")):
        if (folder / name).exists():
            yield Finding(name, "found")


def plugin_states() -> Iterator[Finding]:
    """Plugins that aren't in order, and how many are."""
    loaded = plugins.load().plugins
    yield Finding("in order", f"{sum(p.state == 'ok' for p in loaded)} of {len(loaded)}")
    for plugin in loaded:
        needs = plugin.state.removeprefix("needs ")
        if needs != plugin.state:
            yield Finding(plugin.entry_point, "not installed", f"pip install '{needs}'")
        elif plugin.state == "off":
            yield Finding(str(plugin), "left out by SRKIT_PLUGINS")
        elif plugin.state != "ok":
            todo = "mend it, or leave it out with SRKIT_PLUGINS"
            yield Finding(str(plugin), escaped(plugin.state), todo, broken=True)


def cache() -> Iterator[Finding]:
    """The folder of what can be computed again."""
    folder = files.cache_folder("")
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(str(folder), f"can't be written: {one_line(error)}", "set SRKIT_CACHE", True)
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Finding(str(folder), f"{size / 1e6:,.0f} MB; {free / 2**30:,.0f} GB of the disk are free")


def _line(error: BaseException) -> str:
    return escaped(one_line(error))


SECTIONS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Versions": versions,
    "This machine": hardware,
    "Engines": engines,
    "Models": models,
    "Parts with weights": weights,
    "Data sets": data,
    "Plugins": plugin_states,
    "Cache": cache,
}
