"""OpenVINO as an engine (extra ``openvino``)."""

import srkit


@srkit.hookimpl
def srkit_engines() -> dict[str, str]:
    """Any model that OpenVINO can convert, converted anew whenever it is loaded."""
    return {"openvino": "srkit_openvino.engine:OpenVino"}
