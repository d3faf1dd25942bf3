"""What a slot needs from a PEFT adapter, or the reason why it cannot be served.

Everything that peft would compute and a slot would not is refused by its option's name: an
adapter is served as it was trained or not at all.
"""

import math
import re
from typing import Any, NamedTuple

from torch import Tensor, nn

from actors.lm.adapter import Adapter
from actors.lm.adapter_config import config_fault
from actors.lm.refusals import RefusedAdapter
from actors.lm.slots.linear import SlotLinear

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
# Options of a LoRA config that change what it computes, beyond rank, alpha and rsLoRA.
_UNSUPPORTED = (
    "use_dora", "modules_to_save", "fan_in_fan_out", "lora_bias", "trainable_token_indices",
    "target_parameters", "layer_replication", "alora_invocation_tokens", "use_qalora",
    "use_bdlora", "arrow_config", "kasa_config", "monteclora_config", "megatron_config",
)  # fmt: skip
# Initialisations that also rewrite the base's weights.
_REWRITES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


class LoraPair(NamedTuple):
    """One module's update: scale * b @ a."""

    layer: int  # index of the decoder layer that the module is in
    a: Tensor  # [r, in]
    b: Tensor  # [out, r]
    scale: float


def lora_pairs(adapter: Adapter) -> dict[str, LoraPair]:
    """Module name -> its update; RefusedAdapter with the reason when a slot cannot hold it."""
    _check_options(adapter.config)
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in adapter.tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise RefusedAdapter(f"tensor {key} is not a LoRA weight of a linear layer")
        if not tensor.is_floating_point():
            raise RefusedAdapter(f"tensor {key} holds {tensor.dtype}, not floating-point numbers")
        if not _is_finite(tensor):
            raise RefusedAdapter(f"tensor {key} holds values that are not finite")
        sides.setdefault(match["module"], {})[match["side"]] = tensor
    if not sides:
        raise RefusedAdapter("it holds no tensors")
    return {module: _pair(adapter.config, module, found) for module, found in sides.items()}


def check_modules(model: nn.Module, pairs: dict[str, LoraPair]) -> None:
    """RefusedAdapter unless every module exists in the model, is linear and has that shape."""
    for name, pair in pairs.items():
        linear = _module(model, name)
        if not isinstance(linear, nn.Linear):
            kind = type(linear).__name__
            raise RefusedAdapter(f"module {name} is a {kind}; only linear layers are adapted")
        adapted = (pair.b.shape[0], pair.a.shape[1])
        if adapted != (linear.out_features, linear.in_features):
            raise RefusedAdapter(
                f"module {name} is {linear.in_features} -> {linear.out_features} in the base "
                f"model, {adapted[1]} -> {adapted[0]} in the adapter"
            )


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        module = model.get_submodule(name)
    except AttributeError:
        raise RefusedAdapter(f"the base model has no module {name}") from None
    return module.base if isinstance(module, SlotLinear) else module


def _is_finite(tensor: Tensor) -> bool:
    # A NaN is both extremes; of eight-bit floats torch knows none, so all are widened.
    extremes = tensor.float().aminmax() if tensor.numel() else ()
    return all(math.isfinite(extreme) for extreme in extremes)


def _check_options(config: dict[str, Any]) -> None:
    if fault := config_fault(config):
        raise RefusedAdapter(fault)
    if config.get("peft_type") != "LORA":
        raise RefusedAdapter(f"peft_type={config.get('peft_type')} is not supported, only LORA")
    if config.get("bias", "none") != "none":
        raise RefusedAdapter(f"PEFT option bias={config['bias']} is not supported")
    for name in _UNSUPPORTED:
        if config.get(name):
            raise RefusedAdapter(f"PEFT option {name} is not supported")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_REWRITES_BASE):
        raise RefusedAdapter(
            f"PEFT option init_lora_weights={start} rewrites the base model, which is shared "
            "here; save it as a plain LoRA (path_initial_model_for_weight_conversion)"
        )


def _pair(config: dict[str, Any], module: str, sides: dict[str, Tensor]) -> LoraPair:
    if len(sides) != 2:
        raise RefusedAdapter(f"module {module} has lora_{next(iter(sides))} but not its partner")
    a, b = sides["A"], sides["B"]
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1]:
        raise RefusedAdapter(
            f"module {module}: lora_A {tuple(a.shape)} and lora_B {tuple(b.shape)} do not fit"
        )
    rank = _by_pattern(config.get("rank_pattern"), module, config["r"])
    if a.shape[0] != rank:
        raise RefusedAdapter(f"module {module} has rank {a.shape[0]}, its config says {rank}")
    alpha = _by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return LoraPair(_layer_index(module), a, b, scale)


def _layer_index(module: str) -> int:
    index = next((int(part) for part in module.split(".") if part.isdecimal()), None)
    if index is None:
        # The head, for one, sees other tokens than the layers do.
        raise RefusedAdapter(f"module {module} is not in a decoder layer; only those are adapted")
    return index


def _by_pattern(patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    matching = (value for key, value in (patterns or {}).items() if _means(key, module))
    return next(matching, default)


def _means(pattern: str, module: str) -> bool:
    r"""Whether a pattern is the module's name or its end, as peft's `(.*\.)?(pattern)$` finds it.

    It is compared, not searched for: an expression from outside could hold the engine for ever.
    """
    name = pattern.removeprefix("^")
    start = len(module) - len(name) + name.count("\\")
    if start < 0 or (start > 0 and (name != pattern or module[start - 1] != ".")):
        return False
    parts = re.findall(r"\\?.", name)
    return all(
        part in (".", char, f"\\{char}") for part, char in zip(parts, module[start:], strict=True)
    )
