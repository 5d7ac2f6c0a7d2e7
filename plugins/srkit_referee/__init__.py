"""The referee's tools: quality metrics, protocols, and readers of face sets."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import srkit

PROTOCOLS = Path(__file__).parent / "protocols"


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """Of 8-bit pictures: PSNR and SSIM in RGB and on luma, consistency with lr, and spectra."""
    return {
        "psnr": "srkit_referee.metrics:psnr",
        "psnr-y": "srkit_referee.metrics:psnr_y",
        "ssim": "srkit_referee.metrics:ssim",
        "ssim-y": "srkit_referee.metrics:ssim_y",
        "lr-consistency": "srkit_referee.metrics:lr_consistency",
        "lsd": "srkit_referee.metrics:lsd",
    }


@srkit.hookimpl
def srkit_face_sets() -> dict[str, str]:
    """Folders of people's photos, and tables of them."""
    return {
        "imm": "srkit_referee.face_sets:imm",
        "lfw": "srkit_referee.face_sets:lfw",
        "folders": "srkit_referee.face_sets:folders",
        "csv": "srkit_referee.face_sets:csv",
    }


def protocol(file: Path) -> Callable[[], Path]:
    """Return a protocol's factory, documented by its file."""

    def factory() -> Path:
        return file

    factory.__doc__ = tomllib.loads(file.read_text(encoding="utf-8"))["description"]
    return factory


@srkit.hookimpl
def srkit_protocols() -> dict[str, object]:
    """The paper's protocol as we read it, and neighbours of it."""
    return {file.stem: protocol(file) for file in sorted(PROTOCOLS.glob("*.toml"))}
