"""Run jobs as the door does, in this process, and look at what they left."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jobs.__main__ import main


@dataclass(frozen=True)
class Ran:
    """What one job left: its exit code, what it printed, and the storage it wrote to."""

    code: int
    printed: str
    storage: Path

    def output(self, pattern: str) -> dict[str, Any]:
        """The one YAML output that matches."""
        (path,) = self.storage.glob(pattern)
        return yaml.safe_load(path.read_text())

    def path(self, pattern: str) -> Path:
        """The one file that matches."""
        (path,) = self.storage.glob(pattern)
        return path


def job(storage: Path, *arguments: str) -> Ran:
    """Run a job in this process, as the door would."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main([*arguments, f"storage={storage}"])
    return Ran(code, printed.getvalue(), storage)
