"""What a study publishes: numbers, claims, and figures to be rebuilt."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import pydantic
from pydantic import Field

# Measures of a claim besides the protocol's metrics and "region NAME".
BATCHES, DISTANCE, TEXTURE, REGION = "batches", "distance", "texture", "region "
BICUBIC = "bicubic"  # what a claim may compare a scenario with

Stated: TypeAlias = float | Literal["not stated"]


class Frozen(pydantic.BaseModel):
    """A table of a study's file, which has no other keys."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Published(Frozen):
    """A score that was published for each scenario.

    Attributes:
        name: As printed there.
        unit: Of it.
        source: Where it stands.
        ours: Metrics of the protocol to be shown beside it.
        published: One number a scenario, in their order, or ``"not stated"``.
    """

    name: str
    unit: str = ""
    source: str
    ours: Annotated[tuple[str, ...], Field(min_length=1)]
    published: tuple[Stated, ...]


class Note(Frozen):
    """Why published scores can't be compared with ours value by value."""

    text: str


class Batches(Frozen):
    """How many batches each scenario did in its time, or ``"not stated"``."""

    source: str
    published: tuple[Stated, ...]
    note: str = ""


class PublishedPerson(Frozen):
    """The distances of one person: of each scenario compared, one a photo."""

    person: int | str
    values: tuple[tuple[float, ...], ...]


class PublishedDistances(Frozen):
    """Identity distances that were published for two scenarios.

    Attributes:
        source: Where they stand.
        scenarios: Labels of the two, the reference first.
        note: Why values can't be compared.
        published: One entry a person.
    """

    source: str
    scenarios: tuple[str, str]
    note: str = ""
    published: Annotated[tuple[PublishedPerson, ...], Field(min_length=1)]

    def means(self) -> tuple[float, float]:
        """Return the mean distance of either scenario, over all people and photos."""
        both = [[v for p in self.published for v in p.values[n]] for n in (0, 1)]
        first, second = (sum(values) / len(values) for values in both)
        return first, second


class Claim(Frozen):
    """What was said of two scenarios, so that numbers can decide it.

    Attributes:
        text: In words.
        source: Where it stands.
        measure: A metric of the protocol, ``batches``, ``distance``, ``texture``, or
            ``region NAME``.
        higher: The scenario's label in which the measure is said to be higher.
        lower: The other's; ``bicubic`` is allowed too.
    """

    text: str
    source: str
    measure: str
    higher: str
    lower: str


class Opinion(Frozen):
    """What was said that no number of ours decides."""

    text: str
    source: str


class SideBySide(Frozen):
    """Best, median and worst pictures of a scenario in all columns."""

    kind: Literal["side by side"]
    source: str
    by: str
    metric: str = "psnr"


class Region(Frozen):
    """A part of the face, about a landmark, in which one scenario is said to mend another's errors.

    Attributes:
        kind: ``region``.
        source: Where the figure stands.
        name: Of the part.
        landmark: Its middle, counted in `srkit.faces.align.CELEBA_LANDMARKS`.
        width: Of the part, in pixels of CelebA's aligned pictures.
        height: The same.
        worse: Label of the scenario with the errors.
        better: Label of the one that mends them.
    """

    kind: Literal["region"]
    source: str
    name: str
    landmark: Annotated[int, Field(ge=0, le=4)]
    width: Annotated[int, Field(ge=4, le=178)]
    height: Annotated[int, Field(ge=4, le=218)]
    worse: str
    better: str


class Texture(Frozen):
    """The window in which HR holds most that LR can't, in a scenario's chosen pictures.

    Attributes:
        kind: ``texture``.
        source: Where the figure stands.
        by: Label of the scenario that chooses the pictures.
        metric: By which.
        window: Its side in HR's pixels.
        within: Left, top, right, bottom in pixels of CelebA's aligned pictures, where the head
            is; None for anywhere.
    """

    kind: Literal["texture"]
    source: str
    by: str
    metric: str = "psnr"
    window: Annotated[int, Field(ge=8)] = 24
    within: tuple[int, int, int, int] | None = None


class Probes(Frozen):
    """Each drawn person's base and probes, and what two scenarios make of them."""

    kind: Literal["probes"]
    source: str
    scenarios: tuple[str, ...]


Figure: TypeAlias = Annotated[SideBySide | Region | Texture | Probes, Field(discriminator="kind")]
