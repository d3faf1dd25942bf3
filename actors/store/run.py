"""A run: one job with one config, its folder under the storage root, and its records.

A run's name comes from everything that determines its results, the content of its input files
included, so the same command finds the same run and goes on with it. A name given by hand must
keep meaning the same run. Nothing that was written is ever overwritten.
"""

import fcntl
from pathlib import Path
from typing import IO, Any

import yaml

from actors.store.records import Records
from actors.store.storage import Storage
from actors.store.yaml_text import to_yaml
from configs.base import JobConfig, digest, result_fields
from configs.errors import UserError


class Run:
    """An open run. `folder` is relative to the storage root, as are all names of outputs."""

    def __init__(self, storage: Storage, run_id: str, provenance: dict[str, Any]) -> None:
        self.storage, self.run_id, self.provenance = storage, run_id, provenance
        self.folder = f"runs/{run_id}"
        self._lock = self._locked()

    def records(self, kind: str) -> Records:
        """The run's rows of one kind, those of earlier tries included."""
        return Records(self.storage, f"{self.folder}/{kind}")

    def finished(self, output: str) -> bool:
        """Whether an output of this run is already there."""
        return self.storage.exists(output)

    def write_output(self, output: str, fields: dict[str, Any]) -> str:
        """Write a YAML output whole, with the run that made it, and return its path."""
        text = to_yaml({"run_id": self.run_id, **self.provenance, **fields})
        self.storage.write_new(output, text.encode())
        return self.storage.path(output)

    def read_output(self, output: str) -> dict[str, Any]:
        """A YAML output of this run."""
        return yaml.load(self.storage.read(output), getattr(yaml, "CSafeLoader", yaml.SafeLoader))

    def close(self) -> None:
        """Let another process open the run."""
        if self._lock:
            self._lock.close()

    def _locked(self) -> IO[bytes] | None:
        """Two processes in one run would ask every question twice; a kill frees the lock."""
        if not self.storage.is_local:
            return None
        path = Path(self.storage.path(f"{self.folder}/.lock"))
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UserError(
                f'Run "{self.run_id}" is being computed by another process; '
                "wait for it, or give run_id=ANOTHER_NAME."
            ) from None
        return lock


def open_run(config: JobConfig, job: str, label: str, inputs: dict[str, str] | None = None) -> Run:
    """Open a run, new or to be continued.

    Args:
        config: the resolved config.
        job: the job's name, first part of a derived run name.
        label: what the run is about, second part of a derived run name.
        inputs: name -> content digest of everything the run reads.

    Raises:
        UserError: the name belongs to a run with another config or other inputs.
    """
    identity = {"job": job, "config": result_fields(config), "inputs": inputs or {}}
    slug = "".join(c if c.isalnum() else "-" for c in label.lower()).strip("-")[:40]
    run_id = config.run_id or f"{job}-{slug}-{digest(identity)[:8]}"
    storage = Storage(config.storage)
    name = f"runs/{run_id}/run.yaml"
    if storage.exists(name):
        known = yaml.safe_load(storage.read(name))
        _refuse_other(run_id, known, identity)
    else:
        full = {**identity, "config": config.model_dump(mode="json")}
        storage.write_new(name, to_yaml({**full, "identity": digest(identity)}).encode())
    provenance = {"config": config.model_dump(mode="json"), "inputs": inputs or {}}
    return Run(storage, run_id, provenance)


def _refuse_other(run_id: str, known: dict[str, Any], identity: dict[str, Any]) -> None:
    if known.get("identity") == digest(identity):
        return
    then, now = known.get("config", {}), identity["config"]
    changed = [f"{k}={then.get(k)!r} then, {v!r} now" for k, v in now.items() if then.get(k) != v]
    changed += [
        f"{k}'s content" for k, v in identity["inputs"].items() if known["inputs"].get(k) != v
    ]
    raise UserError(
        f'Run "{run_id}" exists with another config ({"; ".join(changed) or known.get("job")}). '
        "Give run_id=ANOTHER_NAME, or leave it out."
    )
