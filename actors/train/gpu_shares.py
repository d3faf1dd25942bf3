"""Which part of a GPU a training worker gets, and which a replica of the sampler's server. Pure."""

from typing import NamedTuple

from configs.errors import UserError

# Ray puts small shares onto as few GPUs as it can. Two that are larger than a half never meet on
# one, so each GPU has one replica, and beside it room for exactly one worker.
_REPLICA, _WORKER = 0.6, 0.4


class GpuShares(NamedTuple):
    """What Ray is asked for, for each process."""

    worker: float
    replica: float


def gpu_shares(gpus: int, workers: tuple[int, int], replicas: int, *, shared: bool) -> GpuShares:
    """Shares of a run whose trainer and sampler are on one cluster; none where it has no GPUs.

    Args:
        gpus: of the cluster.
        workers: training processes, fewest and most.
        replicas: of the server, most.
        shared: whether the two take turns on the same GPUs.

    UserError where the cluster has too few, or who is to share does not come in pairs.
    """
    least, most = workers
    if gpus == 0:
        return GpuShares(0, 0)
    if shared:
        if not least == most == replicas:
            raise UserError(
                f"share_gpus=true pairs every worker with a replica, but num_workers is "
                f"{_told(workers)} and server.num_replicas={replicas}; give both the same number."
            )
        if gpus < replicas:
            raise UserError(
                f"share_gpus=true with num_workers={most} needs {most} GPUs, the cluster has "
                f"{gpus}."
            )
        return GpuShares(_WORKER, _REPLICA)
    if gpus < least + replicas:
        raise UserError(
            f"num_workers={_told(workers)} and server.num_replicas={replicas} take a GPU each, the "
            f"cluster has {gpus}. Give share_gpus=true (the two then take turns), or fewer."
        )
    return GpuShares(1, 1)


def _told(workers: tuple[int, int]) -> str:
    least, most = workers
    return str(least) if least == most else f"[{least}, {most}]"
