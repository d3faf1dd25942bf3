"""What a run tells Ray's metrics (Prometheus, and from there the charts of Ray's dashboard)."""

from functools import cache

from ray.util.metrics import Gauge

from actors.train.metrics import MetricsRow

_SHOWN = {
    "step": "Steps done.",
    "loss": "Loss of the last step's batch; of sft per target token.",
    "validation_loss": "Loss per target token of the held-out rows.",
    "grad_norm": "Norm of the last step's gradient before clipping.",
    "learning_rate": "Learning rate of the last step.",
    "tokens_per_s": "Tokens trained on per second.",
    "reward": "Mean reward of the last step's rollouts.",
    "eval_reward": "Mean reward of answers to held-out problems.",
    "eval_greedy": "The same, of the greedy answers.",
    "length": "Mean tokens of a rollout.",
    "entropy": "Mean negative log-probability of the sampled tokens.",
    "no_signal": "Groups of the last step without anything to learn from.",
    "kl": "KL divergence between sampler and trainer per token.",
    "ess": "Effective sample size between sampler and trainer, as a share of the tokens.",
    "staleness": "Versions that the tokens' own was behind, on average.",
    "wait_s": "Seconds that the trainer waited for its batch.",
    "handover_s": "Seconds until the sampler had the new version.",
    "memory_mb": "Memory of the first worker in megabytes.",
}


@cache
def _gauge(name: str) -> Gauge:
    return Gauge(f"hothouse_train_{name}", _SHOWN[name], ("run",))


def show_step(run_id: str, metrics: MetricsRow) -> None:
    """Show a step as the run's present state."""
    for name, value in metrics.fields().items():
        if name in _SHOWN:
            _gauge(name).set(value, {"run": run_id})
