"""What a run does when its steps are no longer finite: go back once, then stop."""

from __future__ import annotations

from srkit.errors import SrkitError
from srkit.training.run_folder import RunFolder
from srkit.training.state import Skipped, State


class Recovery:
    """Brings a run back to its last good checkpoint, and lets it learn more slowly from there."""

    def __init__(self, state: State, folder: RunFolder) -> None:
        self.state, self.folder = state, folder
        self.settings = state.recipe.recovery

    @property
    def lr_factor(self) -> float:
        """Factor of the learning rate."""
        return self.settings.lr_factor if self.state.recovered else 1.0

    def check(self, skipped: Skipped) -> str | None:
        """Go back if too many steps in a row were skipped; return what has happened then.

        Raises:
            SrkitError: It has happened before, or the run is over and no step moved anything.
        """
        state = self.state
        if skipped.longest >= self.settings.max_nonfinite_steps:
            return self._go_back(skipped)
        if skipped.streak == state.step == state.recipe.steps:
            raise SrkitError(
                f"none of the {state.step} steps was finite: nothing was learned; "
                f"{self._lower_rate()}"
            )
        return None

    def _go_back(self, skipped: Skipped) -> str:
        state = self.state
        event = (
            f"{self.settings.max_nonfinite_steps} steps in a row were not finite, "
            f"from {skipped.since} on"
        )
        if state.recovered:
            raise SrkitError(
                f"{event}, again after going back and learning more slowly; {self._lower_rate()}"
            )
        # The best so far stays, since a file holds its weights; so does fp16's scale, which may
        # have had to fall.
        best, scaler = state.best, state.processes.scaler
        scale = scaler.state_dict() if scaler else {}
        # The first bad step was computed with the weights after the one before: they are suspect.
        state.restore(self.folder.checkpoint_before(skipped.since - 1), str(self.folder.path))
        state.best, state.recovered = best, True
        if scaler:
            scaler.load_state_dict(scale)
        self.folder.cut_back(state.step)
        self.folder.save(state)  # so that a run that is killed now goes on slowly too
        return f"{event}; back to {state.step}, learning rate times {self.settings.lr_factor:g}"

    def _lower_rate(self) -> str:
        rate = self.state.recipe.optimizer.learning_rate
        return f"start anew with a lower optimizer.learning_rate ({rate:g}) and another --out"
