"""Adapters as vllm takes them: PEFT directories, each under a name, an id and a path of its own.

vllm's prefix cache knows an adapter by its name and path. If they came back with other weights,
these would be answered from the old one's keys and values, so they never come back.
"""

import fcntl
import json
import shutil
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

from safetensors.torch import save_file
from torch import nn

from actors.lm.adapter import CONFIG, TENSORS, Adapter
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots.bank import check_base
from actors.lm.slots.lora import check_modules, lora_pairs
from serve.engines.vllm.arguments import MAX_RANK

_MEMORY = Path("/dev/shm")
_PREFIX, _LOCK = "hothouse-adapters-", "lock"


class Shelved(NamedTuple):
    """Arguments of vllm's `LoRARequest`."""

    lora_name: str
    lora_int_id: int
    lora_path: str


class Shelf:
    """A private folder of adapters, in memory where the system has such a folder."""

    def __init__(self) -> None:
        parent = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
        _sweep(parent)
        self._root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = _held_lock(self._root)
        self._serials = count(1)

    def put(self, name: str, adapter: Adapter) -> Shelved:
        """Write the adapter to a new place."""
        serial = next(self._serials)
        folder = self._root / str(serial)
        folder.mkdir()
        shelved = Shelved(f"{name}#{serial}", serial, str(folder))
        try:
            (folder / CONFIG).write_text(json.dumps(adapter.config))
            save_file({k: v.contiguous() for k, v in adapter.tensors.items()}, folder / TENSORS)
        except BaseException:
            self.remove(shelved)
            raise
        return shelved

    def remove(self, shelved: Shelved) -> None:
        """Delete what `put` wrote."""
        shutil.rmtree(shelved.lora_path, ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._lock.close()


def _held_lock(root: Path) -> IO[bytes]:
    """A locked file in the folder, which the system unlocks when this process ends anyhow."""
    new = (root / "new").open("wb")
    fcntl.flock(new, fcntl.LOCK_EX)
    (root / "new").rename(root / _LOCK)  # never seen without its lock
    return new


def _sweep(parent: Path) -> None:
    """Delete the folders of processes that were killed: they are memory that nobody owns."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError), lock.open("rb") as file:  # in use, or somebody else's
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def check_adapter(adapter: Adapter, base_name: str, skeleton: nn.Module) -> None:
    """RefusedAdapter unless vllm would compute what peft computes; `skeleton` has no weights."""
    check_base(adapter, base_name)
    pairs = lora_pairs(adapter)
    check_modules(skeleton, pairs)
    for module, pair in pairs.items():
        if (rank := pair.a.shape[0]) > MAX_RANK:
            raise RefusedAdapter(
                f"module {module} has rank {rank}; the vllm engine takes ranks up to {MAX_RANK}"
            )
