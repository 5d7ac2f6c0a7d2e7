"""``srkit audit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.console import Console
from typer import Argument, Option

from srkit.files import require_place


def audit(
    models: Annotated[list[str] | None, Argument(help="As of srkit bench. [faces]")] = None,
    data: Annotated[str, Option(help="A folder of photos, or celeba.")] = "celeba",
    protocol: Annotated[str, Option(help="A protocol's name, or a .toml file.")] = "paper",
    limit: Annotated[int | None, Option(min=1, help="Use only the first N images.")] = None,
    json: Annotated[Path | None, Option(help="JSON file of everything measured.")] = None,
    seed: Annotated[int | None, Option(min=0, help="Seed of the noise. [0]")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    batch_size: Annotated[int, Option(min=1, help="Images upscaled at once.")] = 64,
) -> None:
    """Show how models' decibels move with what is compared.

    The same models on the same images: by a protocol, and by its neighbours in channel, rounding,
    border, SSIM's window and the kernel that made LR.

    Examples:
        srkit audit faces --data photos/
        srkit audit faces-x8 --protocol dic-x8 --data DIC/HR --json audit.json
    """
    if json:
        require_place(json)

    from srkit.evaluation.protocol import Protocol
    from srkit_audit.audit import audit as measured

    chosen = Protocol.named(protocol, **({} if seed is None else {"seed": seed}))
    moved = measured(
        models or ["faces"],
        data=data,
        protocol=chosen,
        limit=limit,
        device=device,
        batch_size=batch_size,
    )
    if json:
        moved.write(json)
    Console().print(moved.tables())
