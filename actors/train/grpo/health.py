"""What a step's alarms do to a run: it is told of them, it stops, or it goes back."""

import math

from actors.train.grpo.alarms import other_policy
from actors.train.grpo.metrics import GrpoMetrics
from configs.errors import JobFailed
from configs.grpo import GrpoConfig

_MOST_ROLLBACKS = 2  # without a new checkpoint in between


class Health:
    """Judges steps in their order."""

    def __init__(self, config: GrpoConfig) -> None:
        self._config = config
        self._rollbacks = 0

    def wants_rollback(self, row: GrpoMetrics, *, is_proved: bool) -> bool:
        """Whether the next step starts from the last checkpoint; JobFailed where none may come.

        Weights that are not numbers any more are never gone on with. `is_proved` says that a probe
        shows what the sampler has; without one a step's own numbers are all that can.
        """
        if not row.alarms:
            return False
        others = list(other_policy(row, self._config.alarms))
        if others and not is_proved:
            raise JobFailed(
                f"Step {row.step}: {' '.join(others)} Training stopped, whatever on_alarm says: "
                "the sampler does not score, so that nothing else tells what it answers with. The "
                "checkpoints before this step are kept. Give other bounds in alarms."
            )
        if self._config.on_alarm != "rollback":
            if self._config.on_alarm == "stop" or is_broken(row):
                raise JobFailed(
                    f"Step {row.step}: {' '.join(row.alarms)} Training stopped; the checkpoints "
                    "before this step are kept. Give a lower learning_rate, on_alarm=rollback, or "
                    "other bounds in alarms."
                )
            return False
        self._rollbacks += 1
        if self._rollbacks > _MOST_ROLLBACKS:
            raise JobFailed(
                f"Step {row.step}: {' '.join(row.alarms)} Training went back to its last "
                f"checkpoint {_MOST_ROLLBACKS} times and got no further; it is kept. Give a "
                "lower learning_rate or other bounds in alarms."
            )
        return True

    def kept(self) -> None:
        """There is a new checkpoint."""
        self._rollbacks = 0


def is_broken(row: GrpoMetrics) -> bool:
    """Whether a step's loss or gradient was not finite: its weights then are not either."""
    return not (math.isfinite(row.loss) and math.isfinite(row.grad_norm or 0.0))
