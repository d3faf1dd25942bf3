"""The processes of the adapter server's replicas."""

import psutil
import ray.serve as ray_serve


def replica_processes() -> list[psutil.Process]:
    """Those of the one application that is deployed."""
    [app] = ray_serve.status().applications
    found = []
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::ServeReplica") and app in title:
            found.append(process)
    return found
