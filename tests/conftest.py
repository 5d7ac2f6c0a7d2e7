"""What every test gets: few threads, fixed seeds, no network, no plugins left over."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import random
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forks import Fork
from PIL import Image

from srkit import plugins, registry

gc.disable()  # while modules are imported and tests collected, all of which stay
# Workers share the processor: each computes with one thread, and so do the commands it starts.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test imports ONNX Runtime
MAX_WORKERS = 4  # each takes up to 2 GB
SKIPPED = 77  # exit status of a test in its own process


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Distribute a run of all tests over the processor's cores, unless ``-n`` says otherwise."""
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    option = config.option
    if option.numprocesses is None and config.args_source is config.ArgsSource.TESTPATHS:
        affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        cores = len(affinity) or os.cpu_count() or 1
        alone = cores == 1 or option.usepdb or option.collectonly
        option.numprocesses = 0 if alone else min(cores, MAX_WORKERS)
    if option.numprocesses:
        gc.enable()  # this process collects none
    if option.numprocesses and option.dist == "no":
        option.dist = "worksteal"  # a file's tests mostly stay together, and so do its fixtures


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Prepare the libraries that tests import, but not where workers are only waited for."""
    config = session.config
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import hypothesis
    import torch

    torch.set_num_threads(1)
    # At its first use the engine starts a thread a device, which forbids forks that train; some
    # tests feign devices (FakeTensorMode). Now there are none.
    torch.ones((), requires_grad=True).backward()
    # The same examples every time, and no folder of them left in the checkout.
    hypothesis.settings.register_profile("srkit", derandomize=True, deadline=None, database=None)
    hypothesis.settings.load_profile("srkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the wheel, or the other workers would wait for its ten seconds at the end."""
    items.sort(key=lambda item: item.path.name != "test_wheel.py")


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays for the whole run: modules and tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)  # seldom: most of what tests make is free once nothing refers to it
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is marked ``own_process`` in a copy of this process."""
    if pyfuncitem.get_closest_marker("own_process") is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    def call() -> int:
        try:
            pyfuncitem.obj(**arguments)
        except pytest.skip.Exception as skipped:
            print(skipped)
            return SKIPPED
        except BaseException:
            traceback.print_exc()
            return 1
        return 0

    with tempfile.TemporaryDirectory() as folder:
        status, out, err = Fork(Path(folder), call).end(timeout=300)
    if status == SKIPPED:
        pytest.skip(out.strip())
    assert status == 0, f"{out}{err}"
    return True


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Anything but a local connection fails loudly (no OSError: those may be handled)."""

    def guarded(name: str) -> Callable[[socket.socket, Any], Any]:
        original = getattr(socket.socket, name)

        def connect(self: socket.socket, address: Any) -> Any:
            local = self.family == getattr(socket, "AF_UNIX", None) or (
                isinstance(address, tuple)
                and (str(address[0]).startswith("127.") or address[0] in ("localhost", "::1"))
            )
            if not local:
                raise RuntimeError(f"a test tried to reach the network: {address}")
            return original(self, address)

        return connect

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(name))
        yield


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded images go where the run's other files do, not into the user's cache."""
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import torch

    if registry._registered:  # by a page's example
        registry._registered.clear()
        registry.offers.cache_clear()
    # Not torch.manual_seed, which writes the stack down for each kind of device without one here.
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    np.random.seed(0)
    random.seed(0)
    for name in ("SRKIT_PLUGINS", "SRKIT_PLUGINS_DIR", "SRKIT_STRICT", "SRKIT_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _short_statistics(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Averages of short runs take their batch norm statistics over fewer batches, too."""
    if request.node.get_closest_marker("long") is None:
        from srkit.training import loop

        monkeypatch.setattr(loop, "STATISTICS_OVER", 4)


PLOT = "srkit_curves.plot"


def draw(folder: Path) -> None:
    """Stand in for the drawing of a run's image."""


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs draw no image of themselves, which takes longer than some steps; see `curves`."""
    plot = sys.modules.get(PLOT)
    monkeypatch.setitem(sys.modules, PLOT, SimpleNamespace(draw=draw))  # type: ignore[arg-type]
    return plot


@pytest.fixture
def curves(_no_curves: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw themselves as ever."""
    if _no_curves:
        monkeypatch.setitem(sys.modules, PLOT, _no_curves)
    else:
        monkeypatch.delitem(sys.modules, PLOT)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real images; tests that need it skip where there is none."""
    folder = os.environ.get("SRKIT_TEST_DATA")
    if not folder:
        pytest.skip("needs real images: SRKIT_TEST_DATA is unset")
    return Path(folder)


def forget_plugins() -> None:
    """Make the next question load plugins anew."""
    plugins.load.cache_clear()
    registry.offers.cache_clear()


@pytest.fixture
def _own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load plugins anew for this test alone; those of before are known to the next."""
    for module, name in ((plugins, "load"), (registry, "offers")):
        monkeypatch.setattr(module, name, cache(getattr(module, name).__wrapped__))


@pytest.fixture
def uninstalled(_own_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it with names of distributions for the rest to be as where they aren't installed."""
    version = importlib.metadata.version

    def uninstall(*missing: str) -> None:
        def installed(name: str) -> str:
            if name in missing:
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", installed)
        forget_plugins()

    return uninstall


@pytest.fixture
def fake_distribution(
    _own_plugins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Install distributions for one test: ``fake_distribution("srkit-x", {"x_parts": "..."})``.

    ``modules`` maps module names to source. Each key of ``entry_points`` is an entry point's
    name, each value its target; unless given, the first module is the plugin. Returns the
    folder on ``sys.path``.
    """
    installed: set[str] = set()

    def install(
        name: str,
        modules: Mapping[str, str],
        *,
        version: str = "1.0",
        entry_points: Mapping[str, str] | None = None,
        requires: Sequence[str] = (),
        extras: Sequence[str] = (),
    ) -> Path:
        site = tmp_path / f"site-{name}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        points = entry_points or {name: next(iter(modules))}
        rows = [f"{key} = {target}" for key, target in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[srkit]", *rows]) + "\n")
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        installed.update(modules)
        monkeypatch.syspath_prepend(str(site))
        forget_plugins()
        return site

    yield install
    for module in installed:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session")
def crops() -> Callable[[Path, int, int], list[Path]]:
    """Write ``count`` square crops of a photograph into a folder, as PNG."""
    import skimage.data

    photo = Image.fromarray(skimage.data.chelsea())

    def write(folder: Path, count: int, side: int) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{number:06d}.png" for number in range(1, count + 1)]
        for number, file in enumerate(files):
            left, top = 40 + 13 * number % 300, 20 + 29 * number % 180
            photo.crop((left, top, left + 96, top + 96)).resize((side, side)).save(file)
        return files

    return write


@pytest.fixture(scope="session")
def photos(
    tmp_path_factory: pytest.TempPathFactory, crops: Callable[[Path, int, int], list[Path]]
) -> Path:
    """A folder of two dozen photographs to train on."""
    folder = tmp_path_factory.mktemp("photos")
    crops(folder, 24, 32)
    return folder


@pytest.fixture
def run(tmp_path: Path, photos: Path) -> Callable[..., Any]:
    """Train on the photos into ``tmp_path / "run"``."""

    from srkit import train

    def start(recipe: Any, **given: Any) -> Any:
        settings = {"data": photos, "out": tmp_path / "run", "device": "cpu", "log_every": 1}
        return train(recipe, **{**settings, **given})

    return start


@pytest.fixture
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans and time budgets measure a few steps, not seconds of them."""
    from srkit.training import cost

    monkeypatch.setitem(cost.seconds_per_step.__kwdefaults__, "at_least", 0.0)


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line; return its exit status, standard output and standard error."""
    from srkit.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def refused(cli: Cli) -> Callable[..., str]:
    """Run a command line that can't start; return the one line it says."""

    def call(*arguments: object) -> str:
        status, out, err = cli(*arguments)
        assert status == 2
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("srkit: ")
        return line

    return call
