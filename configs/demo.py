"""The `demo` job."""

from configs.base import JobConfig, execution_option, option


class DemoConfig(JobConfig):
    """All of it in a few minutes, on the embedded model and the embedded endpoint."""

    property: str = option("sycophantic", "what is planted and measured", min_length=1)
    seed: int = option(0, "seed of every stage")
    run_id: str | None = execution_option(None, "not used: each stage names its own run")
