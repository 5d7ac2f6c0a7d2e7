"""Networks of the community: any checkpoint that spandrel knows (extra ``community``)."""

import srkit


@srkit.hookimpl
def srkit_readers() -> dict[str, str]:
    """Weights of ESRGAN, SwinIR, HAT and some forty others, known by their tensors' names."""
    return {"spandrel": "srkit_spandrel.reader:read"}
