"""The jobs. Schemas and functions load on use: listing jobs imports neither Ray nor torch."""

from collections.abc import Callable, Sequence
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
    first_word: str | None = None  # the field that a bare first word fills: `bench pool`

    def schema(self) -> type[JobConfig]:
        """The pydantic model of its config."""
        return _load(self.schema_at)

    def function(self) -> Callable[[Any], int]:
        """The function that runs it and returns the exit code."""
        return _load(self.function_at)

    def fields(self, arguments: Sequence[str]) -> list[str]:
        """The arguments with a bare first word as the field that it fills."""
        if self.first_word and arguments and "=" not in arguments[0]:
            return [f"{self.first_word}={arguments[0]}", *arguments[1:]]
        return list(arguments)


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
        "grpo",
        "problems with rewards -> LoRA adapter checkpoints, by reinforcement",
        "configs.grpo:GrpoConfig",
        "jobs.training.grpo.grpo:run",
    ),
    Job(
        "merge",
        "adapter + base -> a model that needs no peft",
        "configs.merge:MergeConfig",
        "jobs.training.merge:run",
    ),
    Job(
        "push",
        "adapter or model -> the hub, with a card that warns",
        "configs.push:PushConfig",
        "jobs.training.push:run",
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
        "export_calls",
        "stored calls of a study -> one file that replays them",
        "configs.export_calls:ExportCallsConfig",
        "jobs.calls.export_calls:run",
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
    Job(
        "bench",
        "figures of a part, against its peers: `bench pool`",
        "configs.bench:BenchConfig",
        "jobs.bench.bench:run",
        first_word="name",
    ),
]
JOBS = {job.name: job for job in _ALL}
