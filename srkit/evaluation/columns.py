"""What a table compares: interpolations, models, and pictures made by other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from srkit import registry
from srkit.defaults import INTERPOLATIONS
from srkit.errors import InputError
from srkit.imaging import codec
from srkit.inference.model import Model

NEAREST, BICUBIC, LANCZOS = INTERPOLATIONS
# What every table has, whatever else it compares: registered generators without weights.
REFERENCES = (NEAREST, BICUBIC, LANCZOS)
LR, HR = "LR", "HR"  # columns of identity tables
RESERVED = (LR, HR)


@dataclass(frozen=True)
class Column:
    """Something that makes sr of lr.

    Attributes:
        name: In tables.
        enlarge: lr, ``B3hw``, to sr, ``B3HW``, in [0, 1].
        sha256: Of its weights; None where it has none.
        licence: Of the weights.
        metadata: What else is known of it.
        timed: Whether the time that ``enlarge`` takes says anything: reading pictures that were
            made elsewhere doesn't.
    """

    name: str
    enlarge: Callable[[Tensor], Tensor] = field(compare=False)
    sha256: str | None = None
    licence: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)
    timed: bool = True

    def __call__(self, lr: Tensor) -> Tensor:
        """Return sr as a file would hold it: clamped, and rounded to 8 bits.

        Raises:
            InputError: It can't enlarge pictures of this size, as a network with windows may.
        """
        try:
            sr = self.enlarge(lr)
        except (RuntimeError, ValueError) as error:
            size = f"{lr.shape[-1]}x{lr.shape[-2]}"
            raise InputError(f"'{self.name}' can't enlarge pictures of {size}: {error}") from error
        return codec.to_uint8(sr).float() / 255


def references(scale: int) -> list[Column]:
    """Return nearest neighbour, bicubic and Lanczos interpolation."""
    return [
        Column(
            name,
            registry.build_scaled("generators", name, scale, {}),
            metadata={"provider": registry.provenance("generators", name)},
        )
        for name in REFERENCES
    ]


def columns(made: Sequence[Model | Column], scale: int) -> list[Column]:
    """Return the columns of a table: the references, then models, by name.

    Args:
        made: Models, or columns already; a reference among them isn't repeated.
        scale: The protocol's.

    Raises:
        InputError: A model has another scale than the protocol, or another's name.
    """
    found = references(scale)
    for one in made:
        if isinstance(one, Model):
            if one.name in REFERENCES and one.sha256 is None:
                continue  # the same column
            one = _of(one, scale)
        if one.name in (*RESERVED, *(column.name for column in found)):
            raise InputError(
                f"two columns would be called '{one.name}'; rename one, or give its path"
            )
        found.append(one)
    return found


def _of(model: Model, scale: int) -> Column:
    if model.scale != scale:
        raise InputError(f"model '{model.name}' enlarges by {model.scale}, the protocol by {scale}")
    return Column(model.name, model.upscale, model.sha256, model.licence, model.metadata)
