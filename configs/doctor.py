"""The `doctor` job."""

from configs.base import JobConfig


class DoctorConfig(JobConfig):
    """Say what is missing on this machine or cluster, and the command that mends it."""
