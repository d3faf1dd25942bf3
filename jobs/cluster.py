"""One way into Ray: the cluster that a submitted job runs on, or one of this process's own."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobs import console


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the length of a block.

    Inside `ray job submit`, or where RAY_ADDRESS is set, it is that cluster. Elsewhere a local
    one starts, without dashboard, and ends with the block. A block inside another shares its
    session.
    """
    import ray  # seconds; jobs that need no cluster do not pay for it

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address:
        ray.init(address=address, log_to_driver=False)
    else:
        console.say("Starting a local Ray (about 10 s).")
        # Token authentication is its default; that it says so concerns nobody here.
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
        # Serve looks ten times a second whether anything changed: a fifth of what it uses idle.
        os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")
        # "local" never attaches to a stale cluster that Ray's temp folder still names.
        ray.init(
            address="local",
            num_cpus=max(4, os.cpu_count() or 1),  # actors wait more than they compute
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler aborts the process
    try:
        yield
    finally:
        ray.shutdown()
