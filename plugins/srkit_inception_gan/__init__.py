"""The paper: S. D. Indradi, A. Arifianto and K. N. Ramadhani, "Face Image Super-Resolution Using
Inception Residual Network and GAN Framework", as parts of srkit.
"""  # noqa: D205

import srkit


@srkit.hookimpl
def srkit_generators() -> dict[str, str]:
    """Section III: stem, inception-residual and upscaling blocks."""
    return {"inception-residual": "srkit_inception_gan.generator:InceptionResidual"}


@srkit.hookimpl
def srkit_discriminators() -> dict[str, str]:
    """Section III, after Ledig et al."""
    return {"srgan-plain": "srkit_inception_gan.discriminator:PlainDiscriminator"}


@srkit.hookimpl
def srkit_losses() -> dict[str, str]:
    """Equations 2, 3 and 4."""
    return {
        "pixel": "srkit_inception_gan.losses:PixelLoss",
        "feature": "srkit_inception_gan.losses:FeatureLoss",
        "psnr": "srkit_inception_gan.losses:PsnrLoss",
    }


@srkit.hookimpl
def srkit_recipes() -> dict[str, str]:
    """The four scenarios of section IV."""
    return {
        "inception-gan": "srkit_inception_gan.recipes:psnr",
        "inception-gan-pixel": "srkit_inception_gan.recipes:pixel",
        "inception-gan-adversarial": "srkit_inception_gan.recipes:adversarial",
        "inception-gan-feature": "srkit_inception_gan.recipes:feature",
    }
