"""Names of plugins' parts that srkit uses where the user names none: the only ones in the core."""

from __future__ import annotations

MODEL = "faces"
GENERAL_MODEL = "lanczos"  # stands in for a model of general photographs
INTERPOLATIONS = ("nearest", "bicubic", "lanczos")  # generators without weights; bench shows them
DEGRADATION = "faces-x4"
PROTOCOL = "paper"
# What an audit compares of an image, and by which metrics.
CHANNELS = {
    "Y": ("psnr-y", "ssim-y"),
    "Y truncated to 8 bits": ("psnr-y-truncated", "ssim-y-truncated"),
    "Y, SSIM in uniform 7x7": ("psnr-y", "ssim-y-uniform"),
    "RGB": ("psnr", "ssim"),
}
DETECTOR = "mtcnn"
RESTORER = "blend"
EMBEDDER = "facenet"
READER_OF_ONNX = "onnx"
# Commands in the order in which one needs them, by their group in `srkit --help`.
COMMANDS = {
    **dict.fromkeys(("demo", "upscale", "ui", "upscale-dataset"), "Upscale"),
    **dict.fromkeys(("prepare", "degrade", "train", "fit", "export"), "Train"),
    **dict.fromkeys(("bench", "compare", "reproduce"), "Measure"),
    **dict.fromkeys(("list", "models", "info", "plugins", "doctor"), "Look up"),
}
CPU_ENGINE = "onnxruntime"
BF16_ENGINE = "openvino"  # on CPUs that have bfloat16 in hardware
