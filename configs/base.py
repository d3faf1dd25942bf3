"""What every job's schema shares: frozen, no unknown keys, one line of help per field.

A field either determines the results and is part of the run's identity (`option`), or only says
how and where to compute them (`execution_option`): changing those finds the same run again. Paths
of input files are of the second kind, because a run is identified by what its inputs hold.
"""

import hashlib
import json
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator


class Config(BaseModel):
    """A frozen section of a config; unknown keys are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML reads `yes` as true, and pydantic true as 1.
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("a truth value does not fit here")
        return value


def option(default: Any, help_line: str, **constraints: Any) -> Any:
    """A field that determines results. `...` as default makes it required."""
    return Field(default, description=help_line, **constraints)


def execution_option(default: Any, help_line: str, **constraints: Any) -> Any:
    """A field that does not determine results: where, how fast, under which name."""
    return Field(
        default, description=help_line, json_schema_extra={"execution": True}, **constraints
    )


class JobConfig(Config):
    """The fields that every job has."""

    presets: ClassVar[str] = ""  # the folder of configs/presets that holds the job's own

    aliases: ClassVar[dict[str, str]] = {}  # another name -> the field that it fills

    storage: str = execution_option(".", "storage root: a folder, or an fsspec URL on a cluster")
    config_file: str | None = execution_option(None, "YAML file with fields of this job")

    @field_validator("storage")
    @classmethod
    def _outlives_the_process(cls, storage: str) -> str:
        if storage.startswith("memory:"):
            raise ValueError("what is written there is gone when the job ends")
        return storage


class RunConfig(JobConfig):
    """A job that makes a run: results under a name, which another try continues."""

    run_id: str | None = execution_option(
        None,
        "name of the run; the same name continues it (default: derived from the config)",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )


def result_fields(config: Config) -> dict[str, Any]:
    """The config as plain data, without its execution options (recursively)."""
    fields = {}
    for name, info in type(config).model_fields.items():
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("execution"):
            continue
        value = getattr(config, name)
        fields[name] = result_fields(value) if isinstance(value, Config) else _plain(value)
    return fields


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return value


def digest(value: Any) -> str:
    """Hex SHA-256 of plain data, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
