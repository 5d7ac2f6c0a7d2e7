"""What every network must beat: interpolation, and networks of the literature; plain losses."""

import srkit


@srkit.hookimpl
def srkit_generators() -> dict[str, str]:
    """Interpolation, and networks in the order of their papers."""
    return {
        "nearest": "srkit_baselines.interpolation:Nearest",
        "bicubic": "srkit_baselines.interpolation:Bicubic",
        "lanczos": "srkit_baselines.interpolation:Lanczos",
        "srcnn": "srkit_baselines.luma:Srcnn",
        "fsrcnn": "srkit_baselines.luma:Fsrcnn",
        "vdsr": "srkit_baselines.luma:Vdsr",
        "drcn": "srkit_baselines.luma:Drcn",
        "srresnet": "srkit_baselines.residual:SrResNet",
        "edsr": "srkit_baselines.residual:Edsr",
        "rrdb": "srkit_baselines.residual:Rrdb",
    }


@srkit.hookimpl
def srkit_discriminators() -> dict[str, str]:
    """SRGAN's."""
    return {"srgan": "srkit_baselines.discriminator:SrganDiscriminator"}


@srkit.hookimpl
def srkit_recipes() -> dict[str, str]:
    """One for each network."""
    names = "srcnn fsrcnn vdsr drcn srresnet edsr rrdb urdgn sparnet-light srgan"
    return {n: f"srkit_baselines.recipes:{n.replace('-', '_')}" for n in names.split()}


@srkit.hookimpl
def srkit_degradations() -> dict[str, str]:
    """The evaluation protocol's degradation at the usual factors."""
    return {
        "faces-x2": "srkit_baselines.degradations:FacesX2",
        "faces-x4": "srkit_baselines.degradations:FacesX4",
        "faces-x8": "srkit_baselines.degradations:FacesX8",
    }


@srkit.hookimpl
def srkit_losses() -> dict[str, str]:
    """Plain distances between sr and hr."""
    return {
        "l1": "srkit_baselines.losses:L1Loss",
        "mse": "srkit_baselines.losses:MseLoss",
        "log-mse": "srkit_baselines.losses:LogMseLoss",
        "charbonnier": "srkit_baselines.losses:CharbonnierLoss",
    }


def nearest() -> srkit.ReadyModel:
    """Every pixel as a square, no weights: what the LR image itself looks like."""
    return srkit.ReadyModel(
        "Nearest neighbour, no weights", "Apache-2.0", generator="nearest", scale=4
    )


def bicubic() -> srkit.ReadyModel:
    """Bicubic interpolation, no weights."""
    return srkit.ReadyModel(
        "Bicubic interpolation, no weights", "Apache-2.0", generator="bicubic", scale=4
    )


def lanczos() -> srkit.ReadyModel:
    """Lanczos interpolation, no weights: what stands in for a model of general photographs."""
    return srkit.ReadyModel(
        "Lanczos interpolation, no weights", "Apache-2.0", generator="lanczos", scale=4
    )


@srkit.hookimpl
def srkit_models() -> dict[str, object]:
    """Models without weights."""
    return {"nearest": nearest, "bicubic": bicubic, "lanczos": lanczos}
