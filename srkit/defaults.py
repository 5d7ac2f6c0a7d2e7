"""Names of plugins' parts that srkit uses where the user names none: the only ones in the core."""

from __future__ import annotations

MODEL = "faces"
GENERAL_MODEL = "lanczos"  # stands in for a model of general photographs
INTERPOLATIONS = ("nearest", "bicubic", "lanczos")  # generators without weights; bench shows them
DEGRADATION = "faces-x4"
PROTOCOL = "paper"
DETECTOR = "mtcnn"
EMBEDDER = "facenet"
READER_OF_ONNX = "onnx"
CPU_ENGINE = "onnxruntime"
BF16_ENGINE = "openvino"  # on CPUs that have bfloat16 in hardware
