"""``srkit demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from srkit_demo.demo import Demo


def demo(
    train: Annotated[
        bool, typer.Option("--train", help="Also train and measure a small model.")
    ] = False,
) -> None:
    """Upscale an astronaut's face from 16x16 pixels, to try srkit.

    The image srkit-demo.png shows LR, bicubic, the result and HR side by side.

    Examples:
        srkit demo
        srkit demo --train
    """
    from srkit_demo import demo as demonstration

    console = Console(highlight=False)
    if not train:
        _show(console, demonstration.demo())
        return
    console.print(f"1. training '{demonstration.RECIPE}' on squares of scikit-image's photographs")
    result, shown, report = demonstration.train_and_measure()
    gain = result.scores["psnr"] - result.scores["bicubic_psnr"]
    console.print(f"   {result.step} steps, {gain:+z.2f} dB over bicubic on held-out squares")
    console.print("2. the astronaut, with the weights just trained")
    _show(console, shown)
    console.print("3. the fresh weights beside the shipped ones, on squares that neither has seen")
    console.print(report.tables())


def _show(console: Console, result: Demo) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("astronaut, 16x16 to 64x64", "PSNR", "SSIM"):
        table.add_column(heading)
    for method, scores in result.scores.items():
        table.add_row(method, f"{scores['psnr']:.2f} dB", f"{scores['ssim']:.4f}")
    console.print(table)
    console.print(f"LR, bicubic, super-resolved and HR, side by side: {result.file}")
