"""The curves of a training run and its newest image grid, as one image."""

import srkit


@srkit.hookimpl
def srkit_run_reports() -> dict[str, str]:
    """``training.png`` in the run's folder."""
    return {"curves": "srkit_curves.plot:draw"}
