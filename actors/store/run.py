"""A run: one job with one config, its folder under the storage root, and its records.

A run's name comes from everything that determines its results, the content of its input files
included, so the same command finds the same run and goes on with it. A name given by hand must
keep meaning the same run. Nothing that was written is ever overwritten.
"""

from typing import IO, Any

import yaml

from actors.store.records import Records
from actors.store.run_lock import LOCK, lock_run
from actors.store.storage import Storage
from actors.store.yaml_text import to_yaml
from configs.base import RunConfig, digest, result_fields
from configs.errors import UserError


class Run:
    """An open run. `folder` is relative to the storage root, as are all names of outputs."""

    def __init__(
        self, storage: Storage, run_id: str, provenance: dict[str, Any], lock: IO[bytes] | None
    ) -> None:
        self.storage, self.run_id, self.provenance = storage, run_id, provenance
        self.folder = f"runs/{run_id}"
        self._lock = lock

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


def open_run(config: RunConfig, job: str, label: str, inputs: dict[str, str] | None = None) -> Run:
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
    lock = lock_run(storage, run_id)
    try:
        _claim(storage, run_id, identity, config)
    except BaseException:
        if lock:
            lock.close()
        raise
    provenance = {"config": config.model_dump(mode="json"), "inputs": inputs or {}}
    return Run(storage, run_id, provenance, lock)


def _claim(storage: Storage, run_id: str, identity: dict[str, Any], config: RunConfig) -> None:
    """Write what the run is, or check that it is the same; a try that left nothing is replaced."""
    name = f"runs/{run_id}/run.yaml"
    if storage.exists(name):
        known = yaml.safe_load(storage.read(name))
        if known.get("identity") == digest(identity):
            return
        if set(storage.names(f"runs/{run_id}")) - {LOCK, "run.yaml"}:
            raise UserError(
                f'Run "{run_id}" exists with another config ({_changes(known, identity)}). '
                "Give run_id=ANOTHER_NAME, or leave it out."
            )
        storage.remove(name)
    full = {**identity, "config": config.model_dump(mode="json")}
    storage.write_new(name, to_yaml({**full, "identity": digest(identity)}).encode())


def _changes(known: dict[str, Any], identity: dict[str, Any]) -> str:
    """What differs between a stored run and a new try, field by field."""
    if known.get("job") != identity["job"]:
        return f"a run of {known.get('job')}"
    then, now = _flat(known["config"]), _flat(identity["config"])
    changed = [f"{k}={then.get(k)} then, {v} now" for k, v in now.items() if then.get(k) != v]
    before = known["inputs"]
    changed += [f"{k}'s content" for k, v in identity["inputs"].items() if before.get(k) != v]
    return "; ".join(changed) or "fewer inputs now"


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections as dotted names."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        inner = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat
