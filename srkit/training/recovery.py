"""What a run does when its steps are no longer finite: go back once, then stop."""

from __future__ import annotations

from srkit.errors import SrkitError, option
from srkit.recipe import Recipe
from srkit.training.run_folder import RunFolder
from srkit.training.state import Skipped, State


def recover(state: State, folder: RunFolder, skipped: Skipped) -> str | None:
    """Go back to the last good checkpoint if too many steps in a row were skipped; say so.

    SrkitError: it has happened before, or the run is over and no step moved anything.
    """
    recipe = state.recipe
    if skipped.longest < recipe.recovery.max_nonfinite_steps:
        if skipped.streak == state.step == recipe.steps:
            raise SrkitError(
                f"none of the {state.step} steps was finite: nothing was learned; {advice(recipe)}"
            )
        return None
    event = (
        f"{recipe.recovery.max_nonfinite_steps} steps in a row were not finite, "
        f"from {skipped.since} on"
    )
    if state.recovered:
        raise SrkitError(
            f"{event}, again after one restart at a lower learning rate; {advice(recipe)}"
        )
    # The best so far stays, since a file holds its weights; so does fp16's scale, which may
    # have had to fall.
    best, scaler = state.best, state.processes.scaler
    scale = scaler.state_dict() if scaler else {}
    # The first bad step was computed with the weights after the one before: they are suspect.
    state.restore(folder.checkpoint_before(skipped.since - 1), str(folder.path))
    state.best, state.recovered = best, True
    if scaler:
        scaler.load_state_dict(scale)
    folder.cut_back(state.step)
    folder.save(state)  # so that a run that is killed now goes on slowly too
    return f"{event}; back to {state.step}, learning rate times {recipe.recovery.lr_factor:g}"


def advice(recipe: Recipe) -> str:
    """Return what to do where a run's values are no longer finite."""
    rate = recipe.optimizer.learning_rate
    lower = f"start anew with a lower optimizer.learning_rate ({rate:g})"
    return f"{lower} and another {option('out')}"
