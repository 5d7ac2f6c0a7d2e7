"""facenet-pytorch: MTCNN, FaceNet, and a loss that keeps identity."""

import srkit


@srkit.hookimpl
def srkit_detectors() -> dict[str, str]:
    """Face detectors."""
    return {"mtcnn": "srkit_facenet.detector:Detector"}


@srkit.hookimpl
def srkit_embedders() -> dict[str, str]:
    """Face embeddings."""
    return {"facenet": "srkit_facenet.embedder:FaceNet"}


@srkit.hookimpl
def srkit_losses() -> dict[str, str]:
    """Losses on embeddings."""
    return {"identity": "srkit_facenet.losses:IdentityLoss"}
