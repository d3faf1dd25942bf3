"""The `demo` job."""

from configs.base import JobConfig, option


class DemoConfig(JobConfig):
    """All of it in a few minutes, on the embedded model and the embedded endpoint."""

    property: str = option("sycophantic", "what is planted and measured", min_length=1)
    seed: int = option(0, "seed of every stage")
