"""What `python -m jobs`, `--help` and `--dry-run` print."""

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from actors.store.yaml_text import to_yaml
from configs.base import JobConfig
from configs.loader import preset_lines
from jobs import console
from jobs.catalog import Job


def print_jobs(jobs: Mapping[str, Job]) -> None:
    """The list of jobs."""
    console.say("python -m jobs NAME key=value ...")
    console.say("    NAME --help      its fields\n    NAME --dry-run   its resolved config")
    console.table(["job", "what it does"], [[job.name, job.does] for job in jobs.values()])


def print_fields(job: Job, schema: type[JobConfig]) -> None:
    """Every field of a job's config with type, default and one line."""
    words = f"{job.name} {job.first_word.upper()}" if job.first_word else job.name
    console.say(f"python -m jobs {words} key=value ...\n{schema.__doc__}")
    names = sorted(schema.model_fields, key=lambda name: name not in _own_fields(schema))
    console.table(["field", "type", "default", "what it is"], _rows(schema, "", names))
    if "preset" in schema.model_fields:
        console.table(["preset", "what it is"], preset_lines(schema))


def print_resolved(config: JobConfig) -> None:
    """The config as a file that `config_file=` would read."""
    console.say(to_yaml(config.model_dump(mode="json")).rstrip())


def _own_fields(schema: type[BaseModel]) -> set[str]:
    """The fields that this job declares itself; those it shares with others come after them."""
    return set(schema.__annotations__)


def _rows(schema: type[BaseModel], prefix: str, names: Iterable[str]) -> Iterator[list[str]]:
    for name in names:
        info = schema.model_fields[name]
        annotation: Any = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _rows(annotation, f"{prefix}{name}.", annotation.model_fields)
            continue
        required = info.default is PydanticUndefined
        default = "(required)" if required else _default(info.default)
        yield [prefix + name, type_name(annotation), default, _line(schema, name)]


def _line(schema: type[BaseModel], name: str) -> str:
    """What a field is, and its other names."""
    others = [alias for alias, field in getattr(schema, "aliases", {}).items() if field == name]
    return (schema.model_fields[name].description or "") + "".join(f"; also {o}=" for o in others)


def _default(value: Any) -> str:
    return "-" if value is None else str(value)


def type_name(annotation: Any) -> str:
    """A type as a person writes it: `str`, `list of str`, `a | b`."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(m) for m in members if m is not type(None))
    if origin is list:
        return f"list of {type_name(members[0])}"
    if origin is dict:
        return f"{{{type_name(members[0])}: {type_name(members[1])}}}"
    if origin is tuple:
        return f"[{', '.join(type_name(member) for member in members)}]"
    if members:  # Literal
        return " | ".join(str(m) for m in members)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    return getattr(annotation, "__name__", str(annotation))
