"""What each kind of parts promises, checked on a part by its name.

Each check builds the part with its defaults, or those of its factory's attribute ``small``, and
raises AssertionError for a broken promise. Any other exception is a failure, too, but for
`LackingError`.
"""

from __future__ import annotations

import io
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import srkit
from srkit import registry, testing
from srkit.errors import InputError, OptionError
from srkit.hookspecs import Detector, Face, Source, StreamSource

SCALES = (4, 2, 8, 3, 1)
NOWHERE = "an address that leads nowhere"
CLOSE = 2e-3  # engines round in other orders, or in bfloat16 weights


def require(holds: bool, promise: str) -> None:
    """Raise AssertionError for a promise that is broken."""
    if not holds:
        raise AssertionError(promise)


@contextmanager
def refused(what: str = "") -> Iterator[None]:
    """Require of an InputError that it has one line; and one at all, if `what` must be refused."""
    try:
        yield
    except InputError as error:
        require("\n" not in str(error), "an error has one line")
    else:
        require(not what, f"{what} raises srkit.InputError")


class LackingError(Exception):
    """Weights, an option or a device that a part can't be built without."""


def built(kind: str, name: str, scale: int = 4, **options: Any) -> Any:
    """Return a part.

    LackingError: something is missing on this machine, or its options have no usable defaults.
    """
    try:
        return registry.build_scaled(kind, name, scale, options)
    except InputError as error:
        raise LackingError(str(error)) from error
    except OptionError as error:
        if isinstance(error.__cause__, ValueError):
            raise LackingError(str(error)) from error
        raise


def small(kind: str, name: str) -> dict[str, Any]:
    """Return the options with which a factory wants to be checked: its defaults are slow."""
    if kind == "commands":
        return {}
    return dict(getattr(registry.find(kind, name), "small", {}))


def scaled(kind: str, name: str) -> tuple[Any, int]:
    """Return a part built for the first scale that it takes, and that scale."""
    options = small(kind, name)
    for scale in SCALES[:-1]:
        try:
            return built(kind, name, scale, **options), scale
        except LackingError:
            continue
    return built(kind, name, SCALES[-1], **options), SCALES[-1]


def generator(name: str) -> None:
    """Check a generator, and that it can be exported."""
    part, scale = scaled("generators", name)
    testing.check_generator(part, scale=scale, side=8)
    if "onnx" not in registry.offers("readers") or not list(part.parameters()):
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "generator.onnx")
        try:
            srkit.export(srkit.Model(name, part.eval(), scale), file)
        except InputError as error:
            require(False, str(error))


def discriminator(name: str) -> None:
    """Check a discriminator."""
    testing.check_discriminator(built("discriminators", name, **small("discriminators", name)))


def loss(name: str) -> None:
    """Check a loss."""
    part, scale = scaled("losses", name)
    testing.check_loss(part, scale=scale)


def degradation(name: str) -> None:
    """Check a degradation at the scale at which it works."""
    for scale in SCALES:
        part = built("degradations", name, scale)
        lr = part(torch.rand(1, 3, 48, 48), seeds=torch.zeros(1, dtype=torch.int64))
        if lr.shape[-1] == 48 // scale:
            testing.check_degradation(part, scale=scale, side=48)
            return
    require(False, f"lr of 48x48 has shape {tuple(lr.shape)}")


def metric(name: str) -> None:
    """Check a metric."""
    testing.check_metric(built("metrics", name))


def set_metric(name: str) -> None:
    """Check a metric of sets."""
    testing.check_set_metric(built("set_metrics", name))


def embedder(name: str) -> None:
    """Check an embedder."""
    testing.check_embedder(built("embedders", name))


def detector(name: str) -> None:
    """Check a detector on a face, on nothing, and on an image of few pixels."""
    options: dict[str, Any] = {
        "device": "cpu",
        "min_size": 20,
        "confidence": 0.5,
        "max_pixels": None,
    }
    part: Detector = built("detectors", name, **options)
    require(bool(part.name), "a detector has a name")
    for image in (_astronaut(), Image.new("RGB", (64, 64)), Image.new("RGB", (5, 3))):
        faces = part.faces(image)
        require(isinstance(faces, list), "faces are a list")
        require(all(isinstance(face, Face) for face in faces), "every face is a srkit.Face")
        sizes = [(f.box[2] - f.box[0]) * (f.box[3] - f.box[1]) for f in faces]
        require(sizes == sorted(sizes, reverse=True), "the largest face comes first")
        require(all(0 <= face.probability <= 1 for face in faces), "a probability is in [0, 1]")
    require(bool(part.faces(_astronaut())), "it finds no face in scikit-image's astronaut")


def restorer(name: str) -> None:
    """Check that a restorer changes nothing but faces, and gives their crops."""
    lanczos = srkit.load("lanczos", device="cpu", engine="torch")
    part = registry.find("restorers", name)(model=lanczos, min_size=8, device="cpu")
    require(part.model is lanczos and bool(part.key()), "a restorer has a model and a key")
    for image, count in ((_astronaut(), 1), (Image.new("RGB", (64, 64)), 0)):
        lr = np.asarray(image.resize((128, 128)))
        sr = np.asarray(image.resize((256, 256))).copy()
        before = sr.copy()
        restored = [face for face in part.restore(lr, sr, scale=2) if face.restored]
        require(len(restored) == count, f"{len(restored)} faces are restored, not {count}")
        require(np.array_equal(sr[:, :20], before[:, :20]), "it changes more than the face")
        require(len(part.crops(lr)) == count, f"crops are those of {count} faces")


def source(name: str) -> None:
    """Check that a source refuses an address that leads nowhere, in one line.

    What a factory does with one scheme, or one suffix, it does with its others.
    """
    factory = registry.find("sources", name)
    form = ":" if name.endswith(":") else "." if name.startswith(".") else name
    if (factory, form) in _refused:
        return
    with tempfile.TemporaryDirectory() as folder:
        if form == ":":  # an address of the net would be looked up
            address = f"{name}//127.0.0.1:9{folder}/none"
        elif form == ".":
            address = f"{folder}/none{name}"
        else:
            Path(folder, name).write_bytes(b"")
            address = folder
        with refused(NOWHERE):
            part = registry.call("sources", name, address)
            require(isinstance(part, Source | StreamSource), "it lacks some of a source's methods")
            pickle.loads(pickle.dumps(part))
            next(iter(part))  # a stream may find out only now
    _refused.add((factory, form))


_refused: set[tuple[Any, str]] = set()


def face_set(name: str) -> None:
    """Check that a face set refuses an empty folder and a missing one, in one line."""
    with tempfile.TemporaryDirectory() as folder:
        for root in (Path(folder), Path(folder, "none")):
            with refused("a folder without people"):
                registry.call("face_sets", name, root)
    draw = getattr(registry.find("face_sets", name), "draw", (1, 1))
    pair = isinstance(draw, tuple) and len(draw) == 2 and all(isinstance(n, int) for n in draw)
    require(pair, "draw is (people, photos)")


def protocol(name: str) -> None:
    """Check a protocol's file, and its degradation."""
    from srkit.evaluation.protocol import Protocol

    part = Protocol.named(name)
    require(part.name == name, f"the file calls it '{part.name}'")
    if part.framing != "face":
        side = part.size
        lr = part.degrade(torch.rand(1, 3, side, side))
        low = side // part.scale if part.has_hr else side
        shape = (1, 3, low, low)
        require(lr.shape == shape, f"lr has shape {tuple(lr.shape)}, not {shape}")


def recipe(name: str) -> None:
    """Check a recipe: as TOML it is the same, and a batch goes through its parts."""
    from srkit.training.parts import build_parts, rehearse

    part = registry.build("recipes", name)
    require(part.name == name, f"its run would be called '{part.name}'")
    require(srkit.Recipe.from_toml(part.to_toml()) == part, "TOML doesn't give it back")
    changes = {f"generator.{k}": v for k, v in small("generators", part.generator.name).items()}
    if part.discriminator:
        of_it = small("discriminators", part.discriminator.name)
        changes |= {f"discriminator.{key}": value for key, value in of_it.items()}
    part, device = part.changed(changes), torch.device("cpu")
    rehearse(part, build_parts(part, device), device)


def model(name: str) -> None:
    """Check a model: terms, card, weights, and that it upscales."""
    ready = registry.build("models", name)
    require(bool(ready.licence and ready.description), "a model has terms and a description")
    if ready.file is not None:
        require(bool(ready.sha256), "weights have a sha256")
        require(ready.card is not None, "weights have a card")
    if ready.card is not None:
        require(ready.card.is_file(), f"its card {ready.card} is missing")
    part = srkit.load(name, device="cpu")
    image = part.upscale(Image.new("RGB", (5, 7), (200, 100, 50)))
    require(image.size == (5 * part.scale, 7 * part.scale), "the result has another size")


def hub(name: str) -> None:
    """Check that a hub refuses an address that is none, in one line."""
    with refused(NOWHERE):
        registry.call("hubs", name, name)


class Trap:
    """What a reader must not execute: unpickled, it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


def reader(name: str) -> None:
    """Check that a reader leaves others' files alone, and executes no pickle."""
    with tempfile.TemporaryDirectory() as folder:
        trap = Path(folder, "executed")
        for content in (b"", b"no network", os.urandom(4096), pickle.dumps(Trap(str(trap)))):
            for suffix in (".pth", ".safetensors", ".onnx", ".bin"):
                file = Path(folder, f"file{suffix}")
                file.write_bytes(content)
                with refused():  # or not: by its suffix it may be the reader's own
                    part = registry.call("readers", name, file)
                    require(part is None, f"{suffix} without a network gives {part!r:.40}")
        require(not trap.exists(), "it executes a pickle")


class Nearest(nn.Module):
    """A generator of one convolution, for engines."""

    receptive_radius = 1

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        """Return sr."""
        return nn.functional.pixel_shuffle(self.conv(lr), 2)


def engine(name: str) -> None:
    """Check that an engine computes what torch does, at any size."""
    from srkit.inference.engines import prepared

    part = built("engines", name)
    require({"cpu", "cuda", "mps"} >= set(part.devices) > set(), "devices are cpu, cuda, mps")
    if "cpu" not in part.devices:
        raise LackingError(f"it computes on {', '.join(part.devices)} alone")
    torch.manual_seed(0)
    network = Nearest().eval()
    model = prepared(srkit.Model("nearest", network, 2), "cpu", engine=name)
    require(not model.limits.notes, "".join(model.limits.notes))
    require(callable(model.run), "an engine gives a function")
    assert model.run is not None
    for shape in ((1, 3, 16, 16), (3, 3, 9, 17)):
        lr = torch.rand(shape)
        with torch.inference_mode():
            expected = network(lr).numpy()
        with registry.blamed("engines", name):
            sr = model.run(lr.numpy(), "fp32")
        require(isinstance(sr, np.ndarray), f"sr is {type(sr).__name__}, not an array")
        require(sr.shape == expected.shape, f"sr has shape {sr.shape}")
        require(np.allclose(sr, expected, atol=CLOSE), "sr differs from torch's")


def report(name: str) -> None:
    """Check that a report is written."""
    with tempfile.TemporaryDirectory() as folder:
        registry.call("reports", name, _bench(), Path(folder))
        require(any(Path(folder).iterdir()), "it writes nothing")


def pair_check(name: str) -> None:
    """Check that sound pairs are no reason for a word."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for number in range(4):
            hr = _astronaut().crop((number * 64, 0, number * 64 + 192, 192))
            files = Path(folder, f"lr{number}.png"), Path(folder, f"hr{number}.png")
            for file, image in zip(files, (hr.reduce(4), hr), strict=True):
                image.save(file)
            pairs.append(files)
        lines = list(registry.call("pair_checks", name, pairs, 4))
    require(lines == [], f"it says {lines!r:.200} of sound pairs")


def run_report(name: str) -> None:
    """Check that a run report is written, or says in one line why not."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.jsonl")
        log.write_text('{"step": 5, "losses": {"l1": 0.5}}\n')
        registry.call("run_reports", name, Path(folder))
        require({*Path(folder).iterdir()} != {log}, "it writes nothing")
        log.write_text("no record\n" * 2)
        with refused():
            registry.call("run_reports", name, Path(folder))


@cache
def _bench() -> Any:
    folder = Path(_photos().name)
    for number in range(2):
        box = (number * 64, 0, number * 64 + 128, 128)
        _astronaut().crop(box).save(folder / f"{number}.png")
    return srkit.bench(["bicubic"], data=folder, device="cpu")


@cache
def _photos() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()  # for the reports, until the process ends


@cache
def _astronaut() -> Image.Image:
    import skimage.data

    return Image.fromarray(np.asarray(skimage.data.astronaut()))


def command(name: str) -> None:
    """Check that a command has a help, and that its line in srkit's own isn't empty."""
    from srkit.cli import main

    with redirect_stdout(io.StringIO()) as printed:
        status = main([name, "--help"])
    require(status == 0, f"srkit {name} --help exits with {status}")
    require(f"srkit {name}" in printed.getvalue(), f"srkit {name} --help shows no usage")


CHECKS: dict[str, Callable[[str], None]] = {
    "generators": generator,
    "discriminators": discriminator,
    "losses": loss,
    "degradations": degradation,
    "metrics": metric,
    "set_metrics": set_metric,
    "protocols": protocol,
    "reports": report,
    "sources": source,
    "pair_checks": pair_check,
    "run_reports": run_report,
    "detectors": detector,
    "restorers": restorer,
    "embedders": embedder,
    "face_sets": face_set,
    "recipes": recipe,
    "models": model,
    "hubs": hub,
    "readers": reader,
    "engines": engine,
    "commands": command,
}
# Kinds whose factories take what there is to be read, not options.
CALLED = ("reports", "sources", "pair_checks", "run_reports", "face_sets", "hubs", "readers")


def check(kind: str, name: str) -> None:
    """Check a registered part, or a command.

    AssertionError: a promise is broken. LackingError: it can't be built here.
    """
    if kind != "commands":
        require(bool(registry.describe(kind, name)), "its docstring says what it is")
        for option in (
            registry.options(kind, name) if kind not in (*CALLED, "detectors", "restorers") else ()
        ):
            if option.required and option.name != "scale":
                raise LackingError(f"it needs option '{option.name}'")
    CHECKS[kind](name)
