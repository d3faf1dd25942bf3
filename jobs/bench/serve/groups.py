"""All figures of the bench, in the order of the table."""

from jobs.bench.serve import door, generate
from jobs.bench.serve.place import opened

GROUPS = (*generate.GROUPS, *door.GROUPS)

__all__ = ["GROUPS", "opened"]
