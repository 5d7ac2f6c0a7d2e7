"""Our own generator for small faces, its recipe, and the weights that ship."""

import srkit


@srkit.hookimpl
def srkit_generators() -> dict[str, str]:
    """The compact residual network."""
    return {"face-residual": "srkit_faces.generator:FaceResidual"}


@srkit.hookimpl
def srkit_recipes() -> dict[str, str]:
    """How the shipped weights are made."""
    return {"faces": "srkit_faces.recipes:faces", "faces-tiny": "srkit_faces.recipes:faces_tiny"}


@srkit.hookimpl
def srkit_models() -> dict[str, str]:
    """The shipped weights."""
    return {"faces": "srkit_faces.models:faces"}
