"""Fidelity to the person: identity and landmarks of sr and hr, as face restoration reports them."""

import srkit


@srkit.hookimpl
def srkit_metrics() -> dict[str, str]:
    """Likeness and angle of embeddings by three judges, and the distance of landmarks."""
    names = {name: name.replace("-", "_") for name in ("ids-dlib", "deg-dlib")}
    names |= {name: name.replace("-", "_") for name in ("ids-sface", "deg-sface")}
    names |= {"ids": "Ids", "deg": "Deg", "landmark-error": "LandmarkError"}
    return {name: f"srkit_fidelity.metrics:{factory}" for name, factory in names.items()}
