"""What was measured on what, and how: without it a decibel means nothing.

A protocol is data: a TOML file, under a name (hook ``srkit_protocols``) or anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pydantic
from torch import Tensor

from srkit import defaults, foreign, registry, seeds
from srkit.errors import InputError, SrkitError, UnknownNameError, nearest, option
from srkit.files import sha256
from srkit.imaging import codec
from srkit.models import checkpoint
from srkit.options import validated

DEFAULT = defaults.PROTOCOL


class Protocol(pydantic.BaseModel):
    """How HR and LR images come about, and how results are compared.

    The defaults are those of the protocol ``paper``: the whole image squashed to 64x64 by
    Pillow's bicubic, antialiased bicubic to a quarter, Gaussian noise of sigma 0.02, 8 bits.

    Attributes:
        name: Name of the protocol.
        description: Description in one line.
        framing: ``squash`` (the whole image), ``square`` (its largest centred square), ``whole``
            (as it is, cut to a multiple of the scale), ``lr`` (as it is, and it is LR: there is no
            HR), or ``face`` (a detected face's box, widened; for identity).
        size: Side of HR in pixels; unused with ``whole`` and ``lr``.
        scale: Upscaling factor.
        degradation: A registered degradation.
        options: Options of the degradation that differ from its defaults.
        seed: Seed of noise and sampling. An image's noise follows from it and the image's pixels.
        references: How bicubic and Lanczos are computed: in ``float32``, or by ``pillow`` itself,
            which rounds to 8 bits after each direction, as in many published tables.
        border: Pixels cut off each side of sr and hr before they are compared.
        metrics: Registered metrics, in the order of a table.
        set_metrics: Registered metrics of sets.
        scores: What the scores are computed on, in words.
    """

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, ignored_types=(cached_property,)
    )

    name: str = DEFAULT
    description: str = ""
    framing: Literal["squash", "square", "whole", "lr", "face"] = "squash"
    size: int = pydantic.Field(64, ge=1, le=4096)
    scale: int = pydantic.Field(4, ge=1)
    degradation: str = defaults.DEGRADATION
    options: dict[str, Any] = {}
    seed: int = pydantic.Field(0, ge=0, lt=2**62)
    references: Literal["float32", "pillow"] = "float32"
    border: int = pydantic.Field(0, ge=0)
    metrics: tuple[str, ...] = ("psnr", "ssim", "psnr-y", "ssim-y", "lr-consistency", "lsd")
    set_metrics: tuple[str, ...] = ()
    scores: str = "8-bit sr against 8-bit hr, mean over images"

    @classmethod
    def named(cls, name: str | Path | Protocol, **changes: Any) -> Protocol:
        """Return a protocol by its registered name or from a TOML file.

        Args:
            name: ``paper`` and others, or a file that ends in ``.toml``, whose protocol has the
                file's name where it states none; or a protocol itself.
            **changes: Fields to be changed.

        Raises:
            InputError: There is no such protocol, or a field is unknown or wrong.
        """
        if isinstance(name, Protocol):
            return name.changed(**changes) if changes else name
        known = registry.offers("protocols")
        if str(name) in known:
            with registry.blamed("protocols", str(name)):
                file = Path(registry.build("protocols", str(name)))
        elif Path(name).suffix == ".toml":
            file = Path(name)
        else:
            raise InputError(
                f"no protocol '{name}'{nearest(str(name), known)}; there are {', '.join(known)}, "
                "or give a .toml file"
            )
        fields = foreign.read(file, dict[str, Any], "TOML")
        return cls.checked({"name": file.stem, **fields, **changes}, f"protocol {file}")

    @classmethod
    def checked(cls, fields: Mapping[str, Any], origin: str = "protocol") -> Protocol:
        """Return a protocol of these fields.

        Raises:
            InputError: A field is unknown or wrong.
        """
        protocol = validated(cls, fields, origin)
        if protocol.framing not in ("whole", "lr") and protocol.size % protocol.scale:
            raise InputError(
                f"{origin}: size {protocol.size} is no multiple of scale {protocol.scale}"
            )
        try:
            protocol._degradation  # noqa: B018 - a wrong option is found before anything is computed
        except SrkitError as error:
            raise type(error)(f"{origin}: {error}") from error
        return protocol

    def changed(self, **changes: Any) -> Protocol:
        """Return this protocol with other values; see `checked`."""
        return self.checked({**self.model_dump(), **changes}, f"protocol {self.name}")

    @property
    def has_hr(self) -> bool:
        """Whether images are HR, to be degraded, and not LR as they are."""
        return self.framing != "lr"

    def for_faces(self, align: str = "hr") -> Protocol:
        """Return the protocol by which faces are compared: the same, but for what is framed.

        Raises:
            InputError: Faces are to be framed as CelebA's, and it frames no photos.
        """
        framing = self.framing if align == "celeba" else "face"
        if align == "celeba" and framing not in ("squash", "square"):
            raise InputError(
                f"{option('align')} celeba: protocol '{self.name}' frames no photos (its framing "
                f"is {framing}, not squash or square)"
            )
        scores = "8-bit sr against HR"
        return self.changed(framing=framing, border=0, metrics=(), set_metrics=(), scores=scores)

    def with_metrics(self, names: Sequence[str]) -> Protocol:
        """Return this protocol with further metrics, of images or of sets.

        Raises:
            UnknownNameError: One isn't registered.
        """
        of_sets = registry.offers("set_metrics")
        known = sorted({*registry.offers("metrics"), *of_sets})
        for name in names:
            if name not in known:
                raise UnknownNameError(
                    f"unknown metric '{name}'{nearest(name, known)}; known metrics: "
                    f"{', '.join(known)}"
                )
        single = dict.fromkeys((*self.metrics, *(n for n in names if n not in of_sets)))
        sets = dict.fromkeys((*self.set_metrics, *(n for n in names if n in of_sets)))
        return self.changed(metrics=tuple(single), set_metrics=tuple(sets))

    @cached_property
    def _degradation(self) -> Any:
        return registry.build_scaled("degradations", self.degradation, self.scale, self.options)

    def hr(self, file: Path) -> Tensor:
        """Return a file's HR image, ``13HW`` in [0, 1], of 8 bits; its LR one if it `has_hr` not.

        Raises:
            InputError: It can't be read, or is too small for this scale; or the protocol frames
                faces, not images.
        """
        if self.framing == "face":
            raise InputError(f"protocol '{self.name}' frames faces: it is for identity alone")
        image = codec.read(file).rgb
        if self.framing == "lr":
            return codec.to_tensor(image)
        if self.framing != "whole":
            return codec.to_tensor(codec.frame(image, self.framing, self.size))
        width, height = (side - side % self.scale for side in image.size)
        if not width or not height:
            raise InputError(f"{file}: too small to be made {self.scale} times smaller")
        return codec.to_tensor(image.crop((0, 0, width, height)))

    def degrade(self, hr: Tensor) -> Tensor:
        """Return lr, ``B3hw``, of what `hr` gives; see `srkit.seeds.of_images` for their noise."""
        return self.redegrade(hr, hr) if self.has_hr else hr

    def redegrade(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return sr degraded as `degrade` degrades HR, with the noise that follows from ``hr``.

        It is computed on the CPU, whatever the device: every model, and every other program, is to
        be given the same to the bit.

        Raises:
            InputError: The degradation can't do that with images of this size.
        """
        try:
            keys = seeds.of_images(hr.cpu(), self.seed)
            with registry.blamed("degradations", self.degradation):
                lr: Tensor = self._degradation(sr.cpu(), seeds=keys)
        except ValueError as error:
            raise InputError(f"degradation '{self.degradation}': {error}") from error
        return lr.to(sr.device)

    def cut(self, images: Tensor) -> Tensor:
        """Return images, ``B3HW``, without the border that isn't compared.

        Raises:
            InputError: Nothing would be left.
        """
        height, width = images.shape[-2:]
        if min(height, width) <= 2 * self.border:
            raise InputError(f"a border of {self.border} leaves nothing of {width}x{height} pixels")
        b = self.border
        return images[..., b : height - b, b : width - b]

    def stamp(self, files: Sequence[Path]) -> dict[str, Any]:
        """Return every field, the files' fingerprint and the versions, for a report.

        The degradation's options are given in full, so that a changed default shows.
        """
        known = registry.options("degradations", self.degradation)
        defaults = {option.name: option.default for option in known if not option.required}
        return {
            **self.model_dump(mode="json"),
            "options": {**defaults, **self.options},
            "provider": registry.provenance("degradations", self.degradation),
            "files": len(files),
            "fingerprint": fingerprint(files),
            "versions": checkpoint.versions(),
        }


def fingerprint(files: Sequence[Path]) -> str:
    """Return 16 hexadecimal digits that files of the same names and bytes share, in any order."""
    lines = sorted(encoded(file.name) + b"\0" + bytes.fromhex(sha256(file)) for file in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()[:16]


def encoded(name: str) -> bytes:
    """Return a name's bytes, for hashes; one from a disk may be no valid text."""
    return name.encode("utf-8", "surrogatepass")
