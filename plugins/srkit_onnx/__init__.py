"""ONNX files as models, and ONNX Runtime as an engine (extra ``onnx``)."""

import srkit


@srkit.hookimpl
def srkit_readers() -> dict[str, str]:
    """Files that end in ``.onnx``: those of ``srkit export``, and others."""
    return {"onnx": "srkit_onnx.reader:read"}


@srkit.hookimpl
def srkit_engines() -> dict[str, str]:
    """Any model, exported once into a cache."""
    return {"onnxruntime": "srkit_onnx.engine:OnnxRuntime"}
