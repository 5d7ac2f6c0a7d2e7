"""A study as data: which recipes are compared, and what a paper published of them.

A study is a TOML file, under a name (hook ``srkit_studies``) or anywhere. The core knows none.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
from pydantic import Field

from srkit import registry
from srkit.errors import InputError, nearest
from srkit.evaluation.protocol import Protocol
from srkit.evaluation.studies.published import (
    BATCHES,
    BICUBIC,
    DISTANCE,
    REGION,
    TEXTURE,
    Batches,
    Claim,
    Figure,
    Frozen,
    Note,
    Opinion,
    Probes,
    Published,
    PublishedDistances,
    Region,
)


class Scenario(Frozen):
    """One training.

    Attributes:
        label: Its column's name.
        recipe: Registered name.
    """

    label: Annotated[str, Field(min_length=1)]
    recipe: Annotated[str, Field(min_length=1)]


class Study(Frozen):
    """Recipes that are compared, and what was published of them.

    Attributes:
        name: Of the study.
        title: Of the publication.
        citation: Its authors, and where it appeared.
        protocol: Registered name, or a ``.toml`` file, relative to the study's.
        face_set: Registered name, for identity distances; "" for none.
        people: How many are drawn; the face set's own number if None.
        time_budget: Seconds for all trainings together, unless the user says otherwise.
        notes: What a reader must know of the publication.
        scenarios: In order; each is trained.
        quality: Published scores.
        quality_note: Why they can't be held against ours.
        batches: Published numbers of batches.
        distances: Published identity distances.
        claims: What was said, to be decided by numbers.
        opinions: What was said that they can't decide.
        figures: To be rebuilt.
    """

    name: Annotated[str, Field(pattern=r"^[\w.+-]+$")]
    title: str
    citation: str = ""
    protocol: str = "paper"
    face_set: str = ""
    people: Annotated[int, Field(ge=1)] | None = None
    time_budget: Annotated[float, Field(gt=0)] = 7200
    notes: tuple[str, ...] = ()
    scenarios: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    quality: tuple[Published, ...] = ()
    quality_note: Note | None = None
    batches: Batches | None = None
    distances: PublishedDistances | None = None
    claims: tuple[Claim, ...] = ()
    opinions: tuple[Opinion, ...] = ()
    figures: tuple[Figure, ...] = ()

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Self:
        for values in (self.labels, [s.recipe for s in self.scenarios]):
            if twice := sorted({v for v in values if list(values).count(v) > 1}):
                raise ValueError(f"scenarios: '{twice[0]}' stands there twice")
        for where, label in self._named():
            if label not in self.labels:
                known = ", ".join(self.labels)
                raise ValueError(
                    f"{where}: no scenario '{label}'{nearest(label, self.labels)}; "
                    f"there are {known}"
                )
        rows: list[Published | Batches] = [*self.quality, *([self.batches] if self.batches else [])]
        for row in rows:
            if len(row.published) != len(self.labels):
                raise ValueError(
                    f"{row.source}: {len(row.published)} numbers for {len(self.labels)} scenarios"
                )
        self._check_distances()
        regions = {REGION + figure.name for figure in self.regions}
        for claim in self.claims:
            if claim.measure.startswith(REGION) and claim.measure not in regions:
                raise ValueError(f"claim '{claim.text}': no figure has the {claim.measure}")
        return self

    def _named(self) -> Iterator[tuple[str, str]]:
        """Yield every mention of a scenario, and where it stands."""
        for claim in self.claims:
            for label in (claim.higher, claim.lower):
                if label != BICUBIC or claim.measure in (BATCHES, DISTANCE):
                    yield f"claim '{claim.text}'", label
        for label in self.distances.scenarios if self.distances else ():
            yield "distances", label
        for figure in self.figures:
            if isinstance(figure, Region):
                labels: tuple[str, ...] = (figure.worse, figure.better)
            else:
                labels = figure.scenarios if isinstance(figure, Probes) else (figure.by,)
            for label in labels:
                yield f"figure '{figure.kind}'", label

    def _check_distances(self) -> None:
        for person in self.distances.published if self.distances else ():
            lengths = {len(values) for values in person.values}
            if len(person.values) != 2 or len(lengths) != 1 or 0 in lengths:
                raise ValueError(
                    f"distances of person {person.person}: two lists of as many photos each"
                )

    @property
    def labels(self) -> list[str]:
        """The scenarios' labels, in order."""
        return [scenario.label for scenario in self.scenarios]

    @property
    def regions(self) -> list[Region]:
        """The figures that are of a part of the face."""
        return [figure for figure in self.figures if isinstance(figure, Region)]

    @classmethod
    def named(cls, name: str | Path) -> Study:
        """Return a study by its registered name or from a TOML file.

        Raises:
            InputError: There is no such study, or it isn't one; one line says why.
        """
        known = registry.offers("studies")
        if str(name) in known:
            return cls.from_file(Path(registry.build("studies", str(name))))
        if Path(name).suffix == ".toml":
            return cls.from_file(Path(name))
        raise InputError(
            f"no study '{name}'{nearest(str(name), known)}; there are "
            f"{', '.join(known) or 'none'}, or give a .toml file"
        )

    @classmethod
    def from_file(cls, file: Path) -> Study:
        """Read a TOML file.

        Raises:
            InputError: It can't be read, or a field is unknown or wrong.
        """
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"study {file}: {error}") from error
        beside = file.parent / str(values.get("protocol", ""))
        if beside.suffix == ".toml" and beside.is_file():
            values["protocol"] = str(beside)
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise InputError(f"study {file}: {_explained(error)}") from error

    def its_protocol(self, seed: int) -> Protocol:
        """Return the protocol, which measures all that the study asks for.

        Raises:
            InputError: There is none of that name.
        """
        protocol = Protocol.named(self.protocol, seed=seed)
        asked = [name for row in self.quality for name in row.ours]
        asked += [
            claim.measure
            for claim in self.claims
            if claim.measure not in (BATCHES, DISTANCE, TEXTURE)
            and not claim.measure.startswith(REGION)
        ]
        return protocol.changed(metrics=tuple(dict.fromkeys((*protocol.metrics, *asked))))


def _explained(error: pydantic.ValidationError) -> str:
    """Return the first thing wrong, a misspelt key before the one that is therefore missing."""
    first: Any = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field '{where}'"
    if first["type"] == "missing":
        return f"'{where}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
