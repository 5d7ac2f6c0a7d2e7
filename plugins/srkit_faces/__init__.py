"""Our own generator for small faces, its recipe, and the weights that ship."""

import srkit


@srkit.hookimpl
def srkit_generators() -> dict[str, str]:
    """A compact residual network, a larger one that sees the whole face, two of the literature."""
    return {
        "face-residual": "srkit_faces.generator:FaceResidual",
        "face-hourglass": "srkit_faces.hourglass:FaceHourglass",
        "urdgn": "srkit_faces.literature:Urdgn",
        "sparnet-light": "srkit_faces.literature:SparnetLight",
    }


@srkit.hookimpl
def srkit_discriminators() -> dict[str, str]:
    """One that judges patches."""
    return {"patch": "srkit_faces.patches:PatchDiscriminator"}


@srkit.hookimpl
def srkit_recipes() -> dict[str, str]:
    """How the shipped weights are made."""
    return {
        "faces": "srkit_faces.recipes:faces",
        "faces-clean": "srkit_faces.recipes:faces_clean",
        "faces-crisp": "srkit_faces.recipes:faces_crisp",
        "faces-identity": "srkit_faces.recipes:faces_identity",
        "faces-tiny": "srkit_faces.recipes:faces_tiny",
        "faces-x8": "srkit_faces.recipes:faces_x8",
    }


@srkit.hookimpl
def srkit_models() -> dict[str, str]:
    """The shipped weights."""
    return {
        "faces": "srkit_faces.models:faces",
        "faces-clean": "srkit_faces.models:faces_clean",
        "faces-crisp": "srkit_faces.models:faces_crisp",
        "faces-identity": "srkit_faces.models:faces_identity",
        "faces-x8": "srkit_faces.models:faces_x8",
        "inception-gan": "srkit_faces.models:inception_gan",
        "inception-gan-pixel": "srkit_faces.models:inception_gan_pixel",
    }
