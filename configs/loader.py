"""Fill a job's schema from its files and its command line, or say everything that is wrong.

Precedence: defaults < preset or config_file < params_file (only fields that are still at their
defaults) < `key=value` on the command line. `a.b=3` reaches into sections; a value is cast by
its field's type.
"""

import os
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin

import fsspec
import yaml
from pydantic import BaseModel, ValidationError

from configs.base import JobConfig
from configs.errors import UserError, did_you_mean

PRESETS = Path(__file__).parent / "presets"
# Where a run lives is never taken over from another run.
_OWN_FIELDS = {"run_id", "storage", "config_file", "params_file", "preset"}

C = TypeVar("C", bound=JobConfig)


def load_config(schema: type[C], arguments: Sequence[str]) -> C:
    """The resolved config of one job, or a UserError that lists every problem."""
    problems: list[str] = []
    given = _own_names(schema, _command_line(schema, arguments, problems), problems)
    values: dict[str, Any] = {}
    preset, config_file = given.get("preset"), given.get("config_file")
    if preset is not None:
        values = _own_names(schema, _preset(schema, preset, problems), problems)
    if config_file is not None:
        filed = _own_names(schema, read_yaml_mapping(config_file), problems)
        values = _merge(schema, values, filed)
    if given.get("params_file") is not None:
        earlier = _earlier_config(given["params_file"], given.get("storage"))
        known = {k: v for k, v in earlier.items() if k in schema.model_fields}
        filled = {k: v for k, v in known.items() if k not in _OWN_FIELDS}
        values = _merge(schema, filled, values)
    values = _merge(schema, values, given)
    known_values = _without_unknown(schema, values, "", problems)
    try:
        config = schema.model_validate(known_values)
        if not problems:
            return config
    except ValidationError as error:
        problems += [_sentence(detail) for detail in error.errors()]
    raise UserError("\n  ".join(["", *problems]) if len(problems) > 1 else problems[0])


def read_yaml_mapping(path: str) -> dict[str, Any]:
    """A YAML file (a path or an fsspec URL) with a mapping; faults are told with file and line."""
    try:
        fs, plain = fsspec.core.url_to_fs(os.path.expanduser(path))
        data = fs.cat_file(plain)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{path}: cannot be read: {error}.") from None
    return parse_yaml_mapping(path, data)


def parse_yaml_mapping(path: str, data: bytes) -> dict[str, Any]:
    """The mapping that a YAML file's bytes hold; `path` names it in errors."""
    try:
        value = yaml.load(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}.") from None
    except yaml.YAMLError as error:
        raise UserError(_yaml_fault(path, error)) from None
    except ValueError as error:  # the 45th of May, or a number of 5,000 digits
        raise UserError(f"{path}: a value cannot be read: {error}.") from None
    if not isinstance(value, dict):
        held = {type(None): "nothing", list: "a list"}.get(type(value), "a single value")
        raise UserError(f"{path}: holds {held}, expected a mapping of fields.")
    return value


def _yaml_fault(path: str, error: yaml.YAMLError) -> str:
    """One line for a YAML syntax error, with file and line."""
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    return f"{where}: not valid YAML: {getattr(error, 'problem', error)}."


def _earlier_config(path: str, storage: str | None) -> dict[str, Any]:
    """The config in a params file, which may be named relative to the storage root."""
    absent = "://" not in path and not os.path.isabs(path) and not os.path.exists(path)
    config = read_yaml_mapping(f"{storage}/{path}" if storage and absent else path).get(
        "config", {}
    )
    if not isinstance(config, dict):
        raise UserError(f"{path}: its config is not a mapping; give a file that a job wrote.")
    return config


def _own_names(
    schema: type[JobConfig], values: dict[str, Any], problems: list[str]
) -> dict[str, Any]:
    """The values under the names of their fields; a field that got two values is a problem."""
    named = {key: value for key, value in values.items() if key not in schema.aliases}
    for alias, field in schema.aliases.items():
        if alias in values and named.setdefault(field, values[alias]) != values[alias]:
            problems.append(
                f'"{alias}" is another name of "{field}", and the two differ: '
                f"{values[alias]!r} and {named[field]!r}; give one of them."
            )
    return named


def _command_line(
    schema: type[BaseModel], arguments: Sequence[str], problems: list[str]
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            problems.append(f'"{argument}" is not of the form key=value.')
            continue
        *sections, leaf = key.split(".")
        target = given
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                problems.append(f'"{argument}": "{section}" was already given a plain value.')
                break
        else:
            target[leaf] = _cast(_annotation(schema, [*sections, leaf]), text, key, problems)
    return given


def _annotation(schema: Any, path: Sequence[str]) -> Any:
    """The type of the field at `path`, None where there is no such field."""
    first, *rest = path
    for name in (getattr(schema, "aliases", {}).get(first, first), *rest):
        fields = schema.model_fields if _is_section(schema) else {}
        if name not in fields:
            return None
        schema = fields[name].annotation
    return schema


def _cast(annotation: Any, text: str, key: str, problems: list[str]) -> Any:
    """Text stays text where the field takes text; everything else is read as YAML."""
    members = _members(annotation)
    if type(None) in members and text in ("null", "none", "None", ""):
        return None
    containers = [m for m in members if get_origin(m) in (list, dict, tuple)]
    if str in members and not (containers and text.lstrip().startswith(("[", "{"))):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        problems.append(f'{key}="{text}" cannot be read as YAML; quote lists and mappings.')
        return None


def _members(annotation: Any) -> tuple[Any, ...]:
    union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if union else (annotation,)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _without_unknown(
    schema: type[BaseModel], values: dict[str, Any], prefix: str, problems: list[str]
) -> dict[str, Any]:
    """The values that the schema knows; each of the others is a problem."""
    kept = {}
    for key, value in values.items():
        info = schema.model_fields.get(key)
        if info is None:
            known = [*schema.model_fields, *getattr(schema, "aliases", {})]
            problems.append(f'Unknown field "{prefix}{key}".{did_you_mean(key, known)}')
        elif isinstance(value, dict) and _is_section(info.annotation):
            section = cast(type[BaseModel], info.annotation)
            kept[key] = _without_unknown(section, value, f"{prefix}{key}.", problems)
        else:
            kept[key] = value
    return kept


def _merge(schema: Any, below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`; sections are merged field by field, other mappings are replaced."""
    merged = dict(below)
    for key, value in above.items():
        section = _annotation(schema, [key])
        if _is_section(section) and isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(section, merged[key], value)
        else:
            merged[key] = value
    return merged


def preset_lines(schema: type[JobConfig]) -> list[tuple[str, str]]:
    """Every preset of a job: its name, and what the first line of its file says."""
    return [
        (name, path.read_text().partition("\n")[0].lstrip("# "))
        for name, path in _presets(schema).items()
    ]


def _presets(schema: type[JobConfig]) -> dict[str, Path]:
    return {path.stem: path for path in sorted((PRESETS / schema.presets).glob("*.yaml"))}


def _preset(schema: type[JobConfig], name: str, problems: list[str]) -> dict[str, Any]:
    known = _presets(schema)
    if name in known:
        return read_yaml_mapping(str(known[name]))
    problems.append(f'Unknown preset "{name}".{did_you_mean(name, list(known))}')
    return {}


def _sentence(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    said = detail["msg"].removeprefix("Value error, ").rstrip(".")
    if not where:
        return f"{said}."
    if detail["type"] == "missing":
        return f'Field "{where}" is missing: give {where}=VALUE.'
    form = f": write '{where}=[A, B]'" if detail["type"] == "list_type" else ""
    return f'Field "{where}": {said} (got {detail["input"]!r}){form}.'
