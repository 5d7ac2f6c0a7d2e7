"""dlib's face recognition network: an embedder that shares nothing with FaceNet."""

import srkit


@srkit.hookimpl
def srkit_embedders() -> dict[str, str]:
    """Face embeddings."""
    return {"dlib": "srkit_dlib.embedder:Dlib"}
