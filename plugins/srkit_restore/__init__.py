"""Faces in a photo, restored by a model of faces and blended into the general result."""

import srkit


@srkit.hookimpl
def srkit_restorers() -> dict[str, str]:
    """A face in its own resolution, in the colours of what is around it."""
    return {"blend": "srkit_restore.restore:FaceRestorer"}
