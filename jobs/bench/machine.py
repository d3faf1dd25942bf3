"""What a bench ran on, and what processes used of it."""

import os
import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def machine() -> str:
    """The machine in a few words: `2 cores of AMD EPYC, Python 3.11.9`."""
    return f"{os.cpu_count()} cores of {_cpu_name()}, Python {platform.python_version()}"


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def tree_cpu_s(root: int, without: Collection[int] = ()) -> float:
    """CPU seconds of a process and all below it, without the processes (and those below) named.

    A process that ended and was waited for stays in the sum, in its parent's account.
    """
    return sum(_cpu_s(process) for process in _tree(psutil.Process(root), without))


def _tree(process: psutil.Process, without: Collection[int]) -> Iterator[psutil.Process]:
    if process.pid in without:
        return
    yield process
    with suppress(psutil.NoSuchProcess):
        for child in process.children():
            yield from _tree(child, without)


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    return 0.0


def rss_mb() -> float:
    """Resident memory of this process, in MB of 10^6 bytes."""
    return psutil.Process().memory_info().rss / 1e6


@contextmanager
def one_core() -> Iterator[None]:
    """This process, the threads that it starts and torch in it keep to one core."""
    import torch

    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(1)
    if cores is not None:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores is not None:
            os.sched_setaffinity(0, cores)
