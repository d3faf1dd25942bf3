"""Three faults of vllm 0.32, mended inside vllm's own processes, which import this module by name.

The engine's process takes one of the schedulers from here (`scheduler_cls`), the workers take
`WorkerExtension` (`worker_extension_cls`). `make test-vllm` shows the faults when this does not
mend them.
"""

import multiprocessing
import os
from importlib import import_module
from signal import SIGKILL
from threading import Thread
from typing import Any

AsyncScheduler = import_module("vllm.v1.core.sched.async_scheduler").AsyncScheduler
Scheduler = import_module("vllm.v1.core.sched.scheduler").Scheduler


class WorkerExtension:
    """Adds nothing to vllm's worker."""


def _zero_blocks() -> None:
    """Have every block of the KV cache zeroed before it is used again.

    An adapter whose numbers are not finite leaves them in its blocks. Attention multiplies what
    lies behind the end of a row by 0, so that the next row in such a block, of whatever adapter,
    would come out as not finite too. vllm zeroes blocks for some kinds of models only.
    """
    config = import_module("vllm.v1.kv_cache_interface").KVCacheConfig
    if not isinstance(vars(config).get("needs_kv_cache_zeroing"), property):
        raise ImportError("this vllm decides otherwise which blocks are zeroed")
    config.needs_kv_cache_zeroing = property(lambda self: True)


def _keep_base_rows() -> None:
    """Have the CPU build leave rows of the base alone.

    It looks their adapter up at index -1, the last place: once that is taken, the base's rows
    in a mixed batch are answered by the adapter there.
    """
    operations = import_module("vllm.lora.ops.torch_ops.lora_ops")
    shrink = operations.bgmv_shrink

    def bgmv_shrink(
        inputs: Any, weights: Any, output: Any, places: Any, scaling: float = 1.0
    ) -> None:
        shrink(inputs, weights, output, places, scaling)
        output[places < 0] = 0

    for module in (operations, import_module("vllm.lora.punica_wrapper.punica_cpu")):
        vars(module)["bgmv_shrink"] = bgmv_shrink


def _end_with_parent() -> None:
    """Have the engine's process end when the one that started it is killed.

    It would live on with the GPU's memory, and no replica could take its parent's place.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:  # None in a process that only looks at this module
        Thread(target=lambda: (parent.join(), os.kill(os.getpid(), SIGKILL)), daemon=True).start()


_end_with_parent()
_zero_blocks()
_keep_base_rows()
