"""Metrics of image quality, protocols, and readers of face sets."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import srkit

PROTOCOLS = Path(__file__).parent / "protocols"


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """PSNR and SSIM in RGB and on luma, consistency with lr, and spectra, on 8-bit images."""
    return {
        "psnr": "srkit_metrics.images:psnr",
        "psnr-y": "srkit_metrics.images:psnr_y",
        "psnr-y-truncated": "srkit_metrics.images:psnr_y_truncated",
        "ssim": "srkit_metrics.images:ssim",
        "ssim-y": "srkit_metrics.images:ssim_y",
        "ssim-y-truncated": "srkit_metrics.images:ssim_y_truncated",
        "ssim-y-uniform": "srkit_metrics.images:ssim_y_uniform",
        "lr-consistency": "srkit_metrics.images:LrConsistency",
        "lsd": "srkit_metrics.images:lsd",
    }


@srkit.hookimpl
def srkit_face_sets() -> dict[str, str]:
    """Folders of people's photos, and tables of them."""
    names = ("imm", "lfw", "folders", "csv")
    return {name: f"srkit_metrics.face_sets:{name}" for name in names}


def _protocol(file: Path) -> Callable[[], Path]:
    """Return a protocol's factory, documented by its file."""

    def factory() -> Path:
        return file

    factory.__doc__ = tomllib.loads(file.read_text(encoding="utf-8"))["description"]
    return factory


@srkit.hookimpl
def srkit_protocols() -> dict[str, object]:
    """The paper's protocol as we read it, and neighbours of it."""
    return {file.stem: _protocol(file) for file in sorted(PROTOCOLS.glob("*.toml"))}
