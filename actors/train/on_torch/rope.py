"""Rotary positions whose scale depends on the longest row of a pass: what may share one."""

from typing import Any

from transformers import PreTrainedConfig

from configs.errors import UserError


def one_scale_tokens(config: PreTrainedConfig) -> float:
    """Rows of up to so many tokens have one scale, longer ones (`longrope`) another."""
    originals = [
        rope["original_max_position_embeddings"]
        for rope in _ropes(config)
        if rope.get("rope_type") == "longrope"
    ]
    return min(originals, default=float("inf"))


def check_scales(config: PreTrainedConfig, max_tokens: int) -> None:
    """UserError where rows may be so long that each has a scale of its own (`dynamic`)."""
    context = config.max_position_embeddings
    kinds = {str(rope.get("rope_type")) for rope in _ropes(config)}
    if max_tokens > context and any("dynamic" in kind for kind in kinds):
        raise UserError(
            f"max_tokens={max_tokens}: beyond {context} tokens this model's positions depend on "
            f"the rows beside them (rope_type=dynamic); give max_tokens={context}."
        )


def _ropes(config: PreTrainedConfig) -> list[dict[str, Any]]:
    """One, or one for each kind of layer."""
    given = getattr(config, "rope_parameters", None) or {}
    return [rope for rope in given.values() if isinstance(rope, dict)] or [given]
