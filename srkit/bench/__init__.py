"""The referee: PSNR, SSIM and face verification, every number with its protocol."""

from srkit.bench.run import bench

__all__ = ["bench"]
