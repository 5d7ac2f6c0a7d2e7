"""``srkit fit``: a method's dictionaries from photos, as a model like any other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from srkit import Data, InputError, Loss, Part, Recipe, parse_setting
from srkit.files import lock
from srkit.lines import show

if TYPE_CHECKING:
    from srkit_dictionaries.generators import Patches


def fit(
    method: Annotated[
        Literal["sparse-coding", "a-plus"], typer.Argument(help="sparse-coding, or a-plus.")
    ],
    data: Annotated[str, typer.Option(help="Images: a folder, samples.")] = "celeba",
    val: Annotated[str | None, typer.Option(help="Validation images, as --data.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The model's folder.", show_default="runs/METHOD")
    ] = None,
    samples: Annotated[int, typer.Option(min=1000, help="Patches to learn from.")] = 500_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PART.OPTION=VALUE", help="Change a value; repeatable."),
    ] = None,
) -> None:
    """Fit sparse coding or A+, which came before networks.

    The result is a model that upscale and bench take as any other.

    Examples:
        srkit fit a-plus --data photos/
        srkit bench runs/a-plus runs/sparse-coding --data others/
    """
    try:
        import sklearn  # noqa: F401 - asked for now, and not after a minute
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing: pip install 'srkit[dictionaries]'") from error
    import torch

    from srkit.data.loader import open_loader
    from srkit.models import checkpoint
    from srkit.training.validation import Validation
    from srkit_dictionaries.fit import fit as compute

    changes = dict(parse_setting(text) for text in settings or ())
    recipe = _recipe(method).changed({"seed": seed, **changes})
    if recipe.generator.name != method:
        raise InputError(f"--set: the generator is '{method}', not '{recipe.generator.name}'")
    folder = out or Path("runs") / method
    file = folder / checkpoint.MODEL
    network, degrade = cast("Patches", recipe.build("generator")), recipe.build("degradation")
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder), torch.inference_mode():
        if file.exists():
            raise InputError(f"{file} is there already; choose another --out, or delete it")
        cpu = torch.device("cpu")
        loader, held_out = open_loader(data, val, recipe, device=cpu)
        if loader.count is None:
            raise InputError(f"{data}: shards don't say how many images they have; give a folder")
        steps = max(1, loader.count // recipe.batch_size)

        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for batch in itertools.islice(loader.batches(0), steps):
                lr = batch.lr  # of real pairs
                lr = degrade(batch.hr, seeds=batch.seeds) if lr is None else lr
                side, wanted = lr.shape[-1], batch.hr.shape[-1] // recipe.scale
                if side != wanted:
                    raise InputError(
                        f"lr is {side}x{side}, and scale {recipe.scale} needs {wanted}x{wanted}; "
                        "set degradation.name as well"
                    )
                yield lr, batch.hr

        began = time.monotonic()

        def say(what: str) -> None:
            typer.echo(f"{time.monotonic() - began:5.0f} s  {what}")

        compute(network, batches, steps * recipe.batch_size, samples, seed, say)
        validation = Validation.of(held_out, degrade, recipe, cpu)
        scores = validation.scores(validation.upscale(network, recipe.batch_size))
        before = validation.baseline()["bicubic_psnr"]
        tensors = checkpoint.prefixed("generator", network.state_dict())
        tensors |= checkpoint.prefixed("trained_on", loader.trained_on)
        checkpoint.write(file, tensors, recipe, 1, {"data": loader.fingerprint, "scores": scores})
    gain = scores["psnr"] - before
    typer.echo(f"PSNR {scores['psnr']:.2f} dB ({gain:+.2f} over bicubic)")
    show(file)


def _recipe(method: str) -> Recipe:
    """As the recipes of networks of the literature: the paper's protocol."""
    return Recipe(
        name=method,
        steps=1,
        batch_size=100,
        generator=Part.of(method),
        losses={"mse": Loss(weight=1.0)},
        degradation=Part.of("faces-x4"),
        data=Data(framing="squash", size=64),
    )
