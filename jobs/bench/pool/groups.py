"""All figures of the bench, in the order of the table."""

from jobs.bench.pool import limits, stored, throughput
from jobs.bench.pool.place import opened

GROUPS = (*throughput.GROUPS, *limits.GROUPS, *stored.GROUPS)

__all__ = ["GROUPS", "opened"]
