"""``srkit degrade``: what a degradation makes of images; no input is ever written over."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from srkit import defaults
from srkit.cli import images
from srkit.errors import InputError, OptionError
from srkit.files import require_apart

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEFAULT = defaults.DEGRADATION
_GAP = 2  # pixels between the images of a sheet


def degrade(
    source: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[Path, typer.Argument(help="A file or folder; for a folder, a folder.")],
    degradation: Annotated[
        str | None,
        typer.Option(
            help="A degradation's name, or a TOML file.",
            show_default=DEFAULT,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.toml", help="Take degradation and scale from this recipe."),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(min=1, help="Downscaling factor.", show_default="the degradation's"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="Change one of its options; repeatable."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**62, help="Seed of the noise, with each image's own pixels.")
    ] = 0,
    samples: Annotated[int, typer.Option(min=1, help="Random degradations per image.")] = 1,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the original beside it, at the same size.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Degrade images as in training, to see what a network is asked to undo."""
    if degradation and recipe:
        raise InputError("--degradation and --recipe both name a degradation; give one of them")
    from srkit.inference.device import device_named

    jobs = plan(source, out, samples)
    choice = _of_recipe(recipe) if recipe else _named(degradation or DEFAULT)
    chosen = choice.built(settings or [], scale, device_named(device))
    console = Console(stderr=True)

    def one(number: int, job: Job) -> Iterable[Path]:
        if note := _one(job, chosen, seed, compare):
            images.tell(console, note)
        return dict.fromkeys(job.outputs)

    quiet = len(jobs) < 2 or not console.is_terminal
    images.each(jobs, one, "degrade", console, quiet=quiet)


@dataclass(frozen=True)
class Degradation:
    """A built degradation."""

    name: str
    degrade: Callable[..., Tensor]
    scale: int
    device: torch.device

    def __call__(self, hr: Tensor, seed: int, sample: int) -> Tensor:
        """Return lr, ``13hw``, of ``hr``, ``13HW``.

        Sample 0 is what `srkit bench` makes of an image at this seed.

        Raises:
            OptionError: The degradation makes images of another size than its scale says.
            ValueError: The degradation refuses the image.
        """
        import torch

        from srkit import seeds

        key = seeds.of_images(hr, seed).to(self.device)
        keys = seeds.derive(key, sample) if sample else key
        with torch.no_grad():
            lr: Tensor = self.degrade(hr.to(self.device), seeds=keys).cpu()
        wanted = tuple(side // self.scale for side in hr.shape[-2:])
        if tuple(lr.shape[-2:]) != wanted:
            raise OptionError(
                f"degradation '{self.name}' makes {tuple(lr.shape[-2:])} of {tuple(hr.shape[-2:])},"
                f" and scale {self.scale} needs {wanted}"
            )
        return lr


@dataclass(frozen=True)
class _Choice:
    """A degradation as the user, a file or a recipe names it."""

    name: str
    options: dict[str, Any]
    scale: int | None

    def built(self, settings: list[str], scale: int | None, device: torch.device) -> Degradation:
        """Build it with the user's changes; their scale goes before the recipe's or its own."""
        from torch import nn

        from srkit import registry
        from srkit.recipe import parse_setting

        changes = dict(parse_setting(text) for text in settings)
        changes = {key.removeprefix("degradation."): value for key, value in changes.items()}
        if "scale" in changes:
            raise InputError("--set can't change the scale; use --scale")
        required = scale or self.scale
        known = {option.name: option for option in registry.options("degradations", self.name)}
        default = known["scale"].default if "scale" in known else None
        wanted = required or (default if isinstance(default, int) else 4)
        degradation = registry.build_scaled(
            "degradations", self.name, wanted, self.options | changes
        )
        if isinstance(degradation, nn.Module):
            degradation = degradation.to(device)
        actual = getattr(degradation, "scale", wanted)
        if required and actual != required:
            raise OptionError(f"degradation '{self.name}' shrinks by {actual}, not by {required}")
        return Degradation(self.name, degradation, actual, device)


def _of_recipe(name: str) -> _Choice:
    from srkit import registry
    from srkit.recipe import Recipe

    file = Path(name)
    is_file = file.suffix == ".toml" or file.is_file()
    recipe = Recipe.from_file(file) if is_file else registry.build("recipes", name)
    return _Choice(recipe.degradation.name, recipe.degradation.options, recipe.scale)


def _named(name: str) -> _Choice:
    file = Path(name)
    if file.suffix != ".toml":
        return _Choice(name, {}, None)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {file}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not TOML: {error}") from error
    section, scale = values.get("degradation"), values.get("scale")
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise InputError(f"{file}: no section [degradation] with a name")
    if scale is not None and (type(scale) is not int or scale < 1):
        raise InputError(f"{file}: scale is a whole number from 1 up, not {scale!r}")
    options = {key: value for key, value in section.items() if key != "name"}
    return _Choice(section["name"], options, scale)


@dataclass(frozen=True)
class Job:
    """One image, and a file for each sample of it; the same file for all makes a sheet."""

    input: Path
    outputs: tuple[Path, ...]


def plan(source: Path, out: Path, samples: int) -> list[Job]:
    """Decide where every result goes, before anything is computed.

    An image goes to the file ``out``, if its suffix is an image's, or else into the folder
    ``out`` as PNG. A folder's tree is repeated under ``out`` as PNG; of two samples ``face.png``
    becomes ``face-1.png`` and ``face-2.png`` there.

    Raises:
        InputError: There is nothing to degrade, or two results, or a result and an input, would
            meet.
    """
    from srkit.imaging import codec

    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    is_file = out.suffix.lower() in codec.SUFFIXES and not out.is_dir()
    if not source.is_dir():
        output = out if is_file else out / f"{source.stem}.png"
        return _checked([Job(source, (output,) * samples)])
    if is_file or out.is_file():
        raise InputError(f"{source} is a folder; {out} must be a folder, too")
    place = out.resolve()
    # A second run must not take the first one's results for inputs.
    inside = place != source.resolve() and place.is_relative_to(source.resolve())
    images = codec.listed(source)
    files = [f for f in images if not (inside and f.resolve().is_relative_to(place))]
    if not files:
        raise InputError(f"{source}: no images in it but those in {out}")
    jobs = []
    for file in files:
        single = out / file.relative_to(source).with_suffix(".png")
        numbered = (single.with_name(f"{single.stem}-{n + 1}.png") for n in range(samples))
        jobs.append(Job(file, (single,) if samples == 1 else tuple(numbered)))
    return _checked(jobs)


def _checked(jobs: list[Job]) -> list[Job]:
    require_apart(
        ((job.input, job.outputs) for job in jobs),
        elsewhere="for the results",
        instead="rename one",
    )
    return jobs


def _one(job: Job, degradation: Degradation, seed: int, compare: bool) -> str:
    """Degrade one file; return what the user should know of it, or ``""``."""
    from srkit.imaging import codec

    image = codec.read(job.input)
    width, height = image.rgb.size
    scale = degradation.scale
    cut = (width - width % scale, height - height % scale)
    if not all(cut):
        raise InputError(f"{job.input}: {width}x{height} is smaller than a scale of {scale}")
    hr = codec.to_tensor(image.rgb.crop((0, 0, *cut)))
    try:
        results = [degradation(hr, seed, sample) for sample in range(len(job.outputs))]
    except ValueError as error:
        raise InputError(f"{job.input}: {error}") from error
    except RuntimeError as error:  # torch's, of either device
        if "memory" not in str(error):
            raise
        raise InputError(f"{job.input}: {width}x{height} is too large for the memory") from error
    if compare:
        results = [lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for lr in results]
    original = [hr] if compare else []
    if len(set(job.outputs)) == 1:
        codec.write(codec.to_image(sheet([*original, *results])), job.outputs[0], image.info)
    else:
        for lr, file in zip(results, job.outputs, strict=True):
            codec.write(codec.to_image(sheet([*original, lr])), file, image.info)
    if cut == (width, height):
        return ""
    return f"{job.input}: cut from {width}x{height} to {cut[0]}x{cut[1]}, multiples of {scale}"


def sheet(images: list[Tensor]) -> Tensor:
    """Lay images of one size, ``13HW``, out in rows, about as many as columns, on white."""
    import torch

    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = images[0].shape[-2:]
    size = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    page = torch.ones(1, 3, *size)
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + _GAP), (number % columns) * (width + _GAP)
        page[..., top : top + height, left : left + width] = image
    return page
