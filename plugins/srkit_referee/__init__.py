"""The referee's tools: quality metrics on scikit-image, and readers of face sets."""

import srkit


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """PSNR and SSIM of 8-bit pictures, in RGB and on luma."""
    return {
        "psnr": "srkit_referee.metrics:psnr",
        "psnr-y": "srkit_referee.metrics:psnr_y",
        "ssim": "srkit_referee.metrics:ssim",
        "ssim-y": "srkit_referee.metrics:ssim_y",
    }


@srkit.hookimpl
def srkit_face_sets() -> dict[str, str]:
    """Folders of people's photos."""
    return {
        "imm": "srkit_referee.face_sets:imm",
        "folders": "srkit_referee.face_sets:folders",
    }
