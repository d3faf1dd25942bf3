"""YAML as our files carry it: readable blocks, the order of the fields kept, any language as is."""

from typing import Any

import yaml

# libyaml writes thousands of rows a second; the pure Python dumper is thirty times slower.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Readable(_Dumper):  # type: ignore[misc, valid-type]
    """Text of several lines stands as a block."""


def _text(dumper: Any, value: str) -> Any:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Readable.add_representer(str, _text)


def to_yaml(value: Any) -> str:
    """Plain data as YAML text."""
    return yaml.dump(value, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=100)
