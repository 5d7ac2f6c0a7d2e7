"""A whole training run as data: frozen, typed, TOML in and TOML out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import pydantic
import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from srkit import foreign, options
from srkit.errors import InputError, RecipeError, is_in_shell

# Keys of a recipe that name one part, and its kind.
PARTS = {
    "generator": "generators",
    "discriminator": "discriminators",
    "degradation": "degradations",
}


def _of_one_folder(name: str) -> str:
    if name in ("", ".", "..") or not {*name}.isdisjoint("/\\") or not name.isprintable():
        raise ValueError("it names a folder: no / and \\, and nothing that isn't printed")
    return name


FolderName = Annotated[str, AfterValidator(_of_one_folder)]
Positive = Annotated[int, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=4096)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]


if TYPE_CHECKING:  # the metaclass has no public name
    from pydantic._internal._model_construction import ModelMetaclass as _Metaclass
else:
    _Metaclass = type(BaseModel)


class _Explained(_Metaclass):
    """Explains in one line what is wrong where a class is called, ``srkit.Recipe(stepz=1)``."""

    def __call__(cls, **values: Any) -> Any:  # noqa: N805
        try:
            return super().__call__(**values)
        except pydantic.ValidationError as error:
            why = options.explain(error, cls, values)
            raise RecipeError(f"srkit.{cls.__name__}: {why}") from error


class _Frozen(BaseModel, metaclass=_Explained):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class _WithOptions(BaseModel, metaclass=_Explained):
    """Keys beyond a model's own are options of the part it stands for."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The options that this recipe sets; others keep their factory's defaults."""
        return dict(self.model_extra or {})


class Part(_WithOptions):
    """A registered part by name, with its options beside the name.

    In TOML: ``[generator]``, ``name = "inception-residual"``, ``width = 0.5``.
    """

    name: str

    @classmethod
    def of(cls, name: str, /, **options: Any) -> Self:
        """Return the part ``name`` with these options."""
        if not isinstance(name, str):
            what = getattr(name, "__name__", type(name).__name__)
            raise RecipeError(
                f"a recipe names its parts, for others to find them: srkit.register('generator', "
                f"'{what.lower()}', {what}) names one, and Part.of('{what.lower()}') takes it"
            )
        return cls.model_validate({**options, "name": name})


class Loss(_WithOptions):
    """A registered loss, for images in [0, 1], with its options beside these keys.

    Attributes:
        weight: Factor of the loss in the sum that is minimised.
        during: When the loss counts, as shares of the steps: ``[0.9, 1.0]`` is the last tenth.
    """

    weight: Weight = 1.0
    during: tuple[Share, Share] = (0.0, 1.0)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.during[0] >= self.during[1]:
            raise ValueError(f"during wants [from, to], from below to, not {list(self.during)}")
        return self


class Adversarial(_Frozen):
    """Adversarial training.

    Attributes:
        objective: ``minimax``, ``non-saturating``, ``hinge`` or ``relativistic``.
        weight: Weight of the generator's adversarial term.
        updates: ``simultaneous`` (both gradients from one pass, then both networks step) or
            ``alternating`` (the discriminator steps first, then runs again for the generator).
    """

    objective: Literal["minimax", "non-saturating", "hinge", "relativistic"] = "non-saturating"
    weight: Weight = 1e-3
    updates: Literal["simultaneous", "alternating"] = "simultaneous"


class Data(_Frozen):
    """How photos become HR images.

    Attributes:
        framing: ``square`` (largest centred square), ``squash`` (the whole image, whatever its
            shape) or ``jitter`` (a random square of the largest centred one, each time another).
        size: Side of HR in pixels.
        extra_sizes: Further sides of HR, with ``jitter``: each batch has a random one, and fewer
            images the larger they are.
        photo_size: Side in pixels at which ``jitter`` stores the centred squares.
        crop: Smallest and largest side of the random square, as shares of ``photo_size``, never
            smaller than HR.
        flips: Mirror a random half of the images in each epoch.
        pairs: Real pairs in subfolders ``lr`` and ``hr``, neither framed nor degraded; larger ones
            are cut into squares of ``size``.
    """

    framing: Literal["square", "squash", "jitter"] = "square"
    size: Side = 64
    extra_sizes: tuple[Side, ...] = ()
    photo_size: Side = 160
    crop: tuple[Share, Share] = (0.4, 1.0)
    flips: bool = True
    pairs: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """All sides of HR, each drawn for as many batches as another."""
        return (self.size, *self.extra_sizes)

    @property
    def stored_size(self) -> int:
        """Side in pixels at which photos are stored."""
        return self.photo_size if self.framing == "jitter" else self.size

    @pydantic.model_validator(mode="after")
    def _jitters(self) -> Self:
        if self.framing != "jitter":
            if self.extra_sizes:
                raise ValueError("extra_sizes need framing 'jitter'")
            return self
        if self.pairs:
            raise ValueError("framing 'jitter' is for photos; pairs are cut as they are")
        if not 0 < self.crop[0] <= self.crop[1]:
            raise ValueError(f"crop wants [least, largest], both above 0, not {list(self.crop)}")
        if max(self.sizes) > self.photo_size:
            raise ValueError(f"photo_size {self.photo_size} is below size {max(self.sizes)}")
        if min(self.sizes) < self.size:
            raise ValueError("extra_sizes are larger than size")
        return self


class Optimizer(_Frozen):
    """Adam or AdamW with a learning-rate schedule; the same for both networks.

    Attributes:
        name: ``adam`` or ``adamw``.
        learning_rate: Learning rate before schedule and warm-up.
        betas: Decay of the averages of the gradient and of its square.
        weight_decay: As the optimiser defines it; ``adamw`` decouples it.
        schedule: ``constant``; ``step`` (times ``gamma`` every ``step_size`` steps); ``cosine``
            (down to ``min_lr_ratio`` times the rate at the end).
        step_size: Steps between two changes, with ``step``.
        gamma: Factor of each change, with ``step``.
        min_lr_ratio: Last learning rate, relative to ``learning_rate``, with ``cosine``.
        warmup: Steps over which the rate rises linearly to its value.
        clip: Norm to which a network's larger gradients are scaled down.
    """

    name: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: Weight = 0.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_size: Positive = 5000
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_lr_ratio: Share = 0.01
    warmup: Annotated[int, Field(ge=0)] = 0
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Recovery(_Frozen):
    """Steps with a loss or gradient that isn't finite, which are skipped.

    Attributes:
        max_nonfinite_steps: Such steps in a row after which the run returns to its last good
            checkpoint; the second time it stops.
        lr_factor: Factor of the learning rate after that.
    """

    max_nonfinite_steps: Positive = 10
    lr_factor: Annotated[float, Field(gt=0, le=1)] = 0.1


class Recipe(_Frozen):
    """A complete training run, except for the place of the data.

    Attributes:
        name: Name of the run.
        scale: Upscaling factor, for all parts.
        steps: Training steps.
        batch_size: Images a step, over all processes together.
        accumulate: Parts in which a process computes its batch, to save memory; their gradients
            are averaged.
        precision: Precision of the networks: ``fp32``, ``bf16``, ``fp16`` (CUDA only), or ``auto``:
            ``bf16`` where the processor or GPU has it in hardware, else ``fp32``. Weights, losses
            and optimisers stay in float32.
        seed: Seed of initial weights, order, flips and noise.
        init: A model, checkpoint or run whose generator's weights the run starts from.
        generator: A registered generator; its options beside its name.
        discriminator: A registered discriminator; none without adversarial training.
        adversarial: Adversarial training; goes with ``discriminator``.
        losses: Registered losses by name.
        degradation: A registered degradation, HR to LR.
        data: How photos become HR images.
        optimizer: Optimiser of both networks.
        recovery: Steps that are not finite.
        ema: Decay of the generator's moving average, which is validated and kept; 0 for none.
        validate_every: Training steps between validations (and image grids).
    """

    name: FolderName
    scale: Annotated[int, Field(ge=1)] = 4
    steps: Positive = 10_000
    batch_size: Annotated[int, Field(gt=0, le=2**16)] = 32
    accumulate: Positive = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    init: str | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    validate_every: Positive = 500
    generator: Part
    discriminator: Part | None = None
    adversarial: Adversarial | None = None
    losses: dict[str, Loss] = Field(default_factory=dict)
    degradation: Part
    data: Data = Field(default_factory=Data)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    recovery: Recovery = Field(default_factory=Recovery)

    @pydantic.model_validator(mode="after")
    def _whole(self) -> Self:
        for size in self.data.sizes:
            if size % self.scale:
                raise ValueError(f"data.size {size} is no multiple of scale {self.scale}")
        if (self.discriminator is None) != (self.adversarial is None):
            raise ValueError("discriminator and adversarial go together: give both or neither")
        if not any(term.weight for term in (*self.losses.values(), self.adversarial) if term):
            raise ValueError("nothing to train on: a loss or the adversary needs a weight above 0")
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str = "recipe") -> Self:
        """Return the recipe of plain values; a RecipeError names a wrong key, and the nearest."""
        return options.validated(cls, values, origin, error=RecipeError)

    @classmethod
    def from_toml(cls, text: str, origin: str = "recipe") -> Self:
        """Return the recipe a TOML text describes; a RecipeError says why it describes none."""
        return foreign.parse(text, cls, "TOML", origin, error=RecipeError)

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """Return the recipe in a TOML file; an SrkitError says why there is none."""
        return foreign.read(file, cls, "TOML", error=RecipeError)

    @classmethod
    def named(cls, name: str) -> Recipe:
        """Return a registered recipe, or that of a TOML file; it raises as `from_file`."""
        from srkit import registry

        file = Path(name)
        if file.suffix == ".toml" or file.is_file():
            return cls.from_file(file)
        return cast(Recipe, registry.build("recipes", name))

    def build(self, part: str) -> Any:
        """Build the ``generator``, ``discriminator`` or ``degradation``, on the CPU."""
        from srkit import registry

        chosen = getattr(self, part)
        return registry.build_scaled(PARTS[part], chosen.name, self.scale, chosen.options)

    def to_toml(self) -> str:
        """Return the recipe as TOML that `from_toml` reads back unchanged."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def changed(self, settings: Mapping[str, Any]) -> Self:
        """Return the recipe with values at dotted paths: ``{"generator.width": 0.25}``.

        A new ``name`` for a part drops the options of the old one.

        Raises:
            RecipeError: A path or value that no recipe has.
        """
        values: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        names = [f"{part}.name" for part in PARTS]
        for path, value in sorted(settings.items(), key=lambda item: item[0] not in names):
            *parents, last = path.split(".")
            place = values
            for parent in parents:
                inner = place.setdefault(parent, {})
                if not isinstance(inner, dict):
                    raise RecipeError(f"can't set {path}: {parent} has no keys of its own")
                place = inner
            if path in names and place.get("name") != value:
                place.clear()
            place[last] = value
        origin = "--set" if is_in_shell() else f"recipe '{self.name}'"
        return self.parse(values, origin)


def reserved(kind: str) -> frozenset[str]:
    """Return the keys that a recipe's table of a part has beside the part's options."""
    tables: dict[str, type[BaseModel]] = {"losses": Loss, **dict.fromkeys(PARTS.values(), Part)}
    return frozenset(tables[kind].model_fields) if kind in tables else frozenset()


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``"generator.width=0.25"``; the value is TOML, or else a bare string.

    Raises:
        RecipeError: There is no ``=``.
    """
    path, equals, raw = text.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"--set takes part.option=value, not '{text}'")
    try:
        value = foreign.parse(f"value = {raw}", dict[str, Any], "TOML", "--set")["value"]
    except InputError:
        value = raw.strip()
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"--set {path.strip()}: {raw.strip()} is no finite number")
    return path.strip(), value
