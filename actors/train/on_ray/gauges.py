"""What a run tells Ray's metrics (Prometheus, and from there the charts of Ray's dashboard)."""

from functools import cache

from ray.util.metrics import Gauge

from actors.train.metrics import StepMetrics

_SHOWN = {
    "step": "Steps done.",
    "loss": "Loss per target token of the last step's batch.",
    "validation_loss": "Loss per target token of the held-out rows.",
    "grad_norm": "Norm of the last step's gradient before clipping.",
    "learning_rate": "Learning rate of the last step.",
    "tokens_per_s": "Tokens trained on per second.",
    "memory_mb": "Memory of the first worker in megabytes.",
}


@cache
def _gauge(name: str) -> Gauge:
    return Gauge(f"hothouse_train_{name}", _SHOWN[name], ("run",))


def show_step(run_id: str, metrics: StepMetrics) -> None:
    """Show a step as the run's present state."""
    for name in _SHOWN:
        value = getattr(metrics, name)
        if value is not None:
            _gauge(name).set(value, {"run": run_id})
