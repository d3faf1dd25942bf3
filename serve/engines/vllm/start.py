"""Start the vLLM engine on a base model."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from actors.lm.base import load_base
from actors.lm.sampling.limits import limits_of
from actors.lm.tiny import tiny_directory, tiny_name
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.engines.vllm.api import Api, import_vllm
from serve.engines.vllm.arguments import adaptable_modules, cache_token_bytes, engine_arguments
from serve.engines.vllm.engine import VllmEngine
from serve.engines.vllm.meter import Meter
from serve.engines.vllm.residents import Base


def start_vllm_engine(base_model: str, server: ServerConfig) -> VllmEngine:
    """UserError when vllm is not installed, or cannot run this base model here."""
    api = import_vllm()
    if server.device not in ("auto", api.device):
        raise UserError(
            f"server.device={server.device}: this build of vllm runs on {api.device}; "
            "use server.device=auto."
        )
    dtype = getattr(torch, server.dtype)
    base, config = _look_at(base_model, dtype, server.cache_tokens)
    model = tiny_directory() if base.name == tiny_name() else base.name
    arguments = engine_arguments(
        model,
        server,
        base.limits,
        api,
        cache_token_bytes=cache_token_bytes(config, dtype.itemsize),
        modules=adaptable_modules(base.skeleton),
    )
    meter = Meter(server.cache_tokens, server.max_batch)
    return VllmEngine(
        start_llm(api, arguments, meter),
        api,
        base,
        meter,
        max_adapters=server.max_adapters,
        max_batch=server.max_batch,
    )


def _look_at(
    base_model: str, dtype: torch.dtype, cache_tokens: int
) -> tuple[Base, PreTrainedConfig]:
    """Load the base on the host once, for the digest that names it in results on every engine."""
    base = load_base(base_model, dtype)
    limits = limits_of(base)
    # What never fits the cache is refused by the request's check.
    limits = replace(limits, context_tokens=min(limits.context_tokens, cache_tokens))
    skeleton = nn.Module.to(base.model, "meta")  # frees the weights
    return Base(base.name, base.digest, skeleton, limits), base.model.config


def start_llm(api: Api, arguments: dict[str, Any], meter: Meter) -> Any:
    """An `AsyncLLM` that tells the meter; UserError when there can be none."""
    try:
        return api.AsyncLLM.from_engine_args(
            api.AsyncEngineArgs(**arguments), stat_loggers=[lambda config, index: meter]
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"vllm cannot start on {arguments['model']}: {error}") from error
