"""``srkit degrade``: what a degradation makes of images; no input is ever written over."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

import pydantic
import typer
from rich.console import Console
from rich.progress import track
from typing_extensions import TypedDict

from srkit import InputError, OptionError, Part, Recipe, parse_setting
from srkit.errors import escaped
from srkit.files import lock, real
from srkit.lines import failures, show, show_error

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "faces-x4"
KIND = "degradations"
_GAP = 2  # pixels between the images of a sheet


def degrade(
    source: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[Path, typer.Argument(help="A file, or a folder for a folder.")],
    degradation: Annotated[
        str | None,
        typer.Option(help="A degradation's name, or a TOML file.", show_default=DEFAULT),
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
    samples: Annotated[
        int, typer.Option(min=1, max=1000, help="Random degradations per image.")
    ] = 1,
    compare: Annotated[
        bool, typer.Option("--compare", help="Add the original, at the same size.")
    ] = False,
) -> None:
    """Degrade images as in training, to see what a network learns to undo.

    Examples:
        srkit degrade photo.jpg lr.png
        srkit degrade photo.jpg sheet.png --recipe faces
    """
    if degradation and recipe:
        raise InputError("--degradation and --recipe both name a degradation; give one of them")
    from srkit.batch.jobs import plan
    from srkit.imaging import formats

    is_folder = source.is_dir()
    if is_folder and real(out) == real(source):
        raise InputError(f"{out} is an input; choose another place for the results")
    # PNG keeps what was degraded as it is.
    suffix = ".png" if is_folder or out.suffix.lower() not in formats.WRITABLE else None
    jobs = plan([str(source)], out, "", suffix)
    part, own_scale = _of_recipe(recipe) if recipe else _named(degradation or DEFAULT)
    chosen = _built(part, settings or [], scale or own_scale)
    console = Console(stderr=True)
    quiet = len(jobs) < 2 or not console.is_terminal
    failed, shown = 0, set[str]()
    with lock(out) if is_folder else nullcontext():
        for job in track(jobs, "degrade", console=console, disable=quiet, transient=True):
            outputs = [job.output]
            if is_folder and samples > 1:
                stem = job.output.stem
                outputs = [job.output.with_stem(f"{stem}-{n + 1}") for n in range(samples)]
            try:
                notes = _degrade(job.input, outputs, chosen, seed, samples, compare)
            except InputError as error:
                show_error(error)
                failed += 1
                continue
            for note in [note for note in notes if note not in shown]:
                shown.add(note)
                text = escaped(f"{note} (such as {job.input.name})")
                console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)
            for file in outputs:
                show(file)
    if failed:
        show_error(failures(failed, len(jobs)))
        raise typer.Exit(1)


@dataclass(frozen=True)
class Degradation:
    """A built degradation."""

    name: str
    degrade: Callable[..., Tensor]
    scale: int

    def __call__(self, hr: Tensor, seed: int, sample: int) -> Tensor:
        """Return lr, ``13hw``, of ``hr``, ``13HW``.

        Sample 0 is what `srkit bench` makes of an image at this seed.

        Raises:
            OptionError: The degradation makes images of another size than its scale says.
            ValueError: The degradation refuses the image.
        """
        import torch

        from srkit import registry, seeds

        key = seeds.of_images(hr, seed)
        with torch.no_grad(), registry.blamed(KIND, self.name):
            lr = self.degrade(hr, seeds=seeds.derive(key, sample) if sample else key)
        expected = tuple(side // self.scale for side in hr.shape[-2:])
        if tuple(lr.shape[-2:]) != expected:
            raise OptionError(
                f"degradation '{self.name}' makes {tuple(lr.shape[-2:])} of {tuple(hr.shape[-2:])},"
                f" and scale {self.scale} needs {expected}"
            )
        return lr


def _of_recipe(name: str) -> tuple[Part, int | None]:
    recipe = Recipe.named(name)
    return recipe.degradation, recipe.scale


class _File(TypedDict):
    """A degradation in TOML, as in a recipe."""

    degradation: Part
    scale: NotRequired[pydantic.PositiveInt]


def _named(name: str) -> tuple[Part, int | None]:
    from srkit import foreign

    if Path(name).suffix != ".toml":
        return Part.of(name), None
    stored = foreign.read(Path(name), _File, "TOML")
    return stored["degradation"], stored.get("scale")


def _built(part: Part, settings: list[str], scale: int | None) -> Degradation:
    """Build a degradation with the user's changes."""
    from srkit import registry

    changes = {
        key.removeprefix("degradation."): value for key, value in map(parse_setting, settings)
    }
    if "scale" in changes:
        raise InputError("--set can't change the scale; use --scale")
    options = {option.name: option.default for option in registry.options(KIND, part.name)}
    default = options.get("scale")
    expected = scale or (default if isinstance(default, int) else 4)
    built: Any = registry.build_scaled(KIND, part.name, expected, part.options | changes)
    actual = getattr(built, "scale", expected)
    if scale and actual != scale:
        raise OptionError(f"degradation '{part.name}' shrinks by {actual}, not by {scale}")
    return Degradation(part.name, built, actual)


def _degrade(
    file: Path,
    outputs: list[Path],
    degradation: Degradation,
    seed: int,
    samples: int,
    compare: bool,
) -> list[str]:
    """Degrade one file; return what the user should know of it."""
    from srkit.imaging import codec

    image = codec.read(file)
    width, height = image.rgb.size
    scale = degradation.scale
    cut = (width - width % scale, height - height % scale)
    if not all(cut):
        raise InputError(f"{file}: {width}x{height} is smaller than a scale of {scale}")
    hr = codec.to_tensor(image.rgb.crop((0, 0, *cut)))
    try:
        results = [degradation(hr, seed, sample) for sample in range(samples)]
    except ValueError as error:
        raise InputError(f"{file}: {error}") from error
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        raise InputError(f"{file}: {width}x{height} is too large for the memory") from error
    if compare:
        results = [lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3) for lr in results]
    original = [hr] if compare else []
    sheets = [results] if len(outputs) == 1 else [[lr] for lr in results]
    notes = [*image.notes, *["its transparency was left out"] * (image.alpha is not None)]
    if cut != (width, height):
        notes.append(f"cut from {width}x{height} to {cut[0]}x{cut[1]}, multiples of {scale}")
    for images, output in zip(sheets, outputs, strict=True):
        pieces = [*original, *images]  # of several no place is where it was
        info = {k: v for k, v in image.info.items() if len(pieces) == 1 or k == "icc_profile"}
        notes += codec.write(codec.to_image(sheet(pieces)), output, info)
    return notes


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
