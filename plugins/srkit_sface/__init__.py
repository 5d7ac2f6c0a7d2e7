"""SFace: an embedder with other training data and another loss than FaceNet and dlib."""

import srkit


@srkit.hookimpl
def srkit_embedders() -> dict[str, str]:
    """Face embeddings."""
    return {"sface": "srkit_sface.embedder:SFace"}
