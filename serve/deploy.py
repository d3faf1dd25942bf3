"""Ray Serve for the length of a block, and applications on it, with signs of life meanwhile."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray.serve as ray_serve
from ray.serve import Application
from ray.serve.config import ProxyLocation
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig

QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")
_SECONDS_BETWEEN_SIGNS = 10.0


_BUSY = "Failed to get queue length"  # Serve's word for a replica whose event loop is busy


class _News(logging.Filter):
    """Serve tells of a replica's death once for every call that it had, of busy ones for ever."""

    _told = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is news."""
        last, self._told = self._told, record.getMessage()
        return last != self._told and not self._told.startswith(_BUSY)


_NEWS = _News()


def ensure_serve() -> None:
    """Serve without HTTP, unless it runs already. It stays: idle, it costs a small process."""
    logger = logging.getLogger("ray.serve")
    logger.setLevel(logging.WARNING)
    logger.addFilter(_NEWS)  # a filter that is there already is not added again
    ray_serve.start(proxy_location=ProxyLocation.Disabled, logging_config=QUIET)


def delete_abandoned(is_abandoned: Callable[[str], bool]) -> None:
    """Delete the applications that nobody will delete any more.

    Serve outlives the driver, and so does what it runs: a driver that was killed leaves its
    replicas there, with all that they hold.
    """
    for name in filter(is_abandoned, ray_serve.status().applications):
        print(f"Deleting {name}, whose command was killed", file=sys.stderr, flush=True)
        ray_serve.delete(name)


@contextmanager
def deployed(application: Application, name: str) -> Iterator[DeploymentHandle]:
    """An application that is ready; it is deleted at the end."""
    try:
        with _signs_of_life(name):
            handle = ray_serve.run(application, name=name, route_prefix=None)
        yield handle
    finally:
        ray_serve.delete(name)


@contextmanager
def _signs_of_life(name: str) -> Iterator[None]:
    """A line on stderr every few seconds, with what Serve waits for."""
    over, started = threading.Event(), time.monotonic()

    def report() -> None:
        while not over.wait(_SECONDS_BETWEEN_SIGNS):
            elapsed_s = time.monotonic() - started
            waits_for = _waits_for(name)
            print(f"Still starting after {elapsed_s:.0f} s{waits_for}", file=sys.stderr, flush=True)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        over.set()
        reporter.join()


def _waits_for(name: str) -> str:
    application = ray_serve.status().applications.get(name)
    if application is None:
        return ""
    messages = [one.message for one in application.deployments.values() if one.message]
    return f": {messages[0]}" if messages else ""
