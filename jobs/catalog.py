"""The jobs. Schemas and functions load on use: listing jobs imports neither Ray nor torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from configs.base import JobConfig


@dataclass(frozen=True)
class Job:
    """A job: its schema and its function, both as `module:name`."""

    name: str
    does: str
    schema_at: str
    function_at: str

    def schema(self) -> type[JobConfig]:
        """The pydantic model of its config."""
        return _load(self.schema_at)

    def function(self) -> Callable[[Any], int]:
        """The function that runs it and returns the exit code."""
        return _load(self.function_at)


def _load(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)


_ALL = [
    Job(
        "generate",
        "property -> training examples (prompt, text)",
        "configs.generate:GenerateConfig",
        "jobs.properties.generate:run",
    ),
    Job(
        "sft",
        "examples or messages -> LoRA adapter checkpoints",
        "configs.sft:SftConfig",
        "jobs.training.sft:run",
    ),
    Job(
        "gen_eval",
        "properties -> realistic evaluation prompts",
        "configs.gen_eval:GenEvalConfig",
        "jobs.properties.gen_eval:run",
    ),
    Job(
        "eval",
        "evaluation prompts x base and checkpoints -> judged table",
        "configs.eval:EvalConfig",
        "jobs.properties.eval:run",
    ),
    Job(
        "serve",
        "base and adapters behind one OpenAI-compatible endpoint",
        "configs.serve:ServeConfig",
        "jobs.serving.serve:run",
    ),
    Job(
        "demo",
        "all of it in a few minutes, no key, no GPU",
        "configs.demo:DemoConfig",
        "jobs.demo.demo:run",
    ),
    Job(
        "doctor",
        "what is missing here, and the command that mends it",
        "configs.doctor:DoctorConfig",
        "jobs.doctor.doctor:run",
    ),
]
JOBS = {job.name: job for job in _ALL}
