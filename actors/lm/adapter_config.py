"""Which fields of a LoRA config count, and what keeps one from being used as it is."""

import json
import re
from collections.abc import Callable
from typing import Any

# The fields of a LoRA config that change what the adapter computes.
DETERMINING = (
    "peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "bias", "target_modules",
    "rank_pattern", "alpha_pattern", "layers_to_transform", "layers_pattern", "modules_to_save",
    "fan_in_fan_out", "base_model_name_or_path",
)  # fmt: skip
# A module's name or the end of one, as peft takes it; any other expression may never end.
_PATTERN = re.compile(r"\^?(?:[A-Za-z0-9_.-]|\\\.){1,128}")
_MOST_PATTERNS = 1024
_LARGEST_ALPHA = 1e30


def config_fault(config: object) -> str | None:
    """Which field of a config cannot be used as it is, and why; None when all can.

    The fields of another method than LoRA are not known here; its name is refused elsewhere.
    """
    if not isinstance(config, dict):
        return "it is not a JSON object"
    targets = config.get("target_modules")
    if not isinstance(targets, str | list | None):
        return "target_modules must be names"
    if isinstance(targets, list) and not all(isinstance(name, str) for name in targets):
        return "target_modules must be names"
    if not isinstance(config.get("base_model_name_or_path"), str | None):
        return "base_model_name_or_path must be a name"
    if field := next((name for name in DETERMINING if not _is_text(config.get(name))), None):
        return f"{field} holds half of a surrogate pair, which is not Unicode"
    if config.get("peft_type") != "LORA":
        return None
    if not _is_rank(config.get("r")):
        return f"r={_shown(config.get('r'))} must be a whole rank of at least 1"
    if not _is_number(config.get("lora_alpha")):
        return f"lora_alpha={_shown(config.get('lora_alpha'))} must be a finite number"
    return _pattern_fault(config, "rank_pattern", _is_rank, "whole ranks of at least 1") or (
        _pattern_fault(config, "alpha_pattern", _is_number, "finite numbers")
    )


def _pattern_fault(
    config: dict[str, Any], field: str, is_good: Callable[[object], bool], wanted: str
) -> str | None:
    patterns = config.get(field) or {}
    if not (isinstance(patterns, dict) and all(map(is_good, patterns.values()))):
        return f"{field}={_shown(patterns)} must give {wanted}"
    if len(patterns) > _MOST_PATTERNS:
        return f"{field} has {len(patterns):,} patterns, more than {_MOST_PATTERNS:,}"
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            return (
                f'{field}: "{_shown(pattern)}" is not the name of a module or the end of one; '
                "other expressions are not taken"
            )
    return None


def _shown(value: object) -> str:
    return str(value)[:80]


def _is_text(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    # Compared as it is: a whole number may be larger than a float can be.
    is_numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return is_numeric and abs(value) <= _LARGEST_ALPHA
