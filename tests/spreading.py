"""Which tests share a process where pytest-xdist has several."""

from collections.abc import Sequence

from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

_GROUPS = {"tests/cluster/": "one Ray", "tests/e2e/": "jobs", "tests/faults/": "jobs"}


class OneRayEach(LoadScopeScheduling):
    """In one process all that shares a Ray, in one all that starts its own; else file by file.

    So a cluster is started once, and two at most run at a time, which is what two cores bear.
    """

    def _split_scope(self, nodeid: str) -> str:
        groups = (group for room, group in _GROUPS.items() if nodeid.startswith(room))
        return next(groups, nodeid.split("::", maxsplit=1)[0])

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """What a process has found. Of tests with one id xdist would run one."""
        assert len(set(collection)) == len(collection), "tests have an id in common"
        super().add_node_collection(node, collection)
