"""The entries of a list in a YAML file, each with its line."""

from typing import Any

import yaml

from configs.errors import UserError
from configs.loader import parse_yaml_mapping

_MERGE = "tag:yaml.org,2002:merge"


def list_entries(path: str, data: bytes, key: str, hint: str) -> list[tuple[str, Any]]:
    """`file:line` and value of each entry of the list under `key`.

    Raises UserError, which ends with `hint`, where there is no such list.
    """
    entries = parse_yaml_mapping(path, data).get(key)
    if not isinstance(entries, list):
        raise UserError(f'{path}: holds no list "{key}"; {hint}.')
    root: Any = yaml.compose(data, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    given = [(name, value) for name, value in root.value if name.value == key]
    if not given:
        line = next(name for name, _ in root.value if name.tag == _MERGE).start_mark.line + 1
        raise UserError(f'{path}:{line}: "{key}" comes from a merge key; write it out.')
    if len(given) > 1:
        line = given[1][0].start_mark.line + 1
        raise UserError(f'{path}:{line}: "{key}" stands here a second time; leave one.')
    places = [f"{path}:{node.start_mark.line + 1}" for node in given[0][1].value]
    return list(zip(places, entries, strict=True))
