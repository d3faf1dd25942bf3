"""Training runs under the storage root: what each training client was made with.

`tinker/{session}-{n}/run.json` stands beside the run's checkpoints.
"""

import json
from contextlib import suppress
from dataclasses import asdict

from actors.store.storage import Storage
from serve.openai.errors import Refused
from serve.tinker_api.kept import Run
from serve.tinker_api.paths import ROOT, absent, run_folder, run_of_folder


class Runs:
    """Reads and writes them; 404 where there is none."""

    def __init__(self, root: str) -> None:
        self._storage = Storage(root)

    def add(self, run: Run) -> None:
        """A training client was made, perhaps for the second time: its trainer was killed."""
        data = json.dumps(asdict(run), indent=2).encode()
        with suppress(FileExistsError):
            self._storage.write_new(_file(run.id), data)

    def read(self, run_id: str) -> Run:
        """A training run."""
        try:
            return Run(**json.loads(self._storage.read(_file(run_id))))
        except FileNotFoundError:
            raise absent(f'there is no training run "{run_id}"') from None

    def all(self) -> list[Run]:
        """All of them, the newest first."""
        found = []
        for run_id in filter(None, map(run_of_folder, self._storage.names(ROOT))):
            with suppress(Refused):
                found.append(self.read(run_id))
        return sorted(found, key=lambda run: run.created, reverse=True)


def _file(run_id: str) -> str:
    return f"{ROOT}/{run_folder(run_id)}/run.json"
