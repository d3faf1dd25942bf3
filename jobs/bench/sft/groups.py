"""All figures of the bench, in the order of the table."""

from jobs.bench.sft import against_trl, gpu, shells
from jobs.bench.sft.place import opened

GROUPS = (*against_trl.GROUPS, *shells.GROUPS, *gpu.GROUPS)

__all__ = ["GROUPS", "opened"]
