"""ONNX files as models, run by ONNX Runtime (extra ``onnx``)."""

import srkit


@srkit.hookimpl
def srkit_readers() -> dict[str, str]:
    """Files that end in ``.onnx``: those of ``srkit export``, and others."""
    return {"onnx": "srkit_onnx.reader:read"}
