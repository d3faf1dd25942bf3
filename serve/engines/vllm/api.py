"""The names of vllm that we use, imported when an engine starts."""

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from configs.errors import UserError


@dataclass(frozen=True)
class Api:
    """vllm's own classes under vllm's own names, and what this build of it runs on."""

    AsyncEngineArgs: Any
    AsyncLLM: Any
    LoRARequest: Any
    RequestOutputKind: Any
    SamplingParams: Any
    StructuredOutputsConfig: Any
    StructuredOutputsParams: Any
    VLLMClientError: Any
    device: str  # "cuda", "cpu"


def import_vllm() -> Api:
    """UserError when it is not installed."""
    _set_defaults()
    try:
        sampling = import_module("vllm.sampling_params")
        return Api(
            import_module("vllm.engine.arg_utils").AsyncEngineArgs,
            import_module("vllm.v1.engine.async_llm").AsyncLLM,
            import_module("vllm.lora.request").LoRARequest,
            sampling.RequestOutputKind,
            sampling.SamplingParams,
            import_module("vllm.config").StructuredOutputsConfig,
            sampling.StructuredOutputsParams,
            import_module("vllm.exceptions").VLLMClientError,
            import_module("vllm.platforms").current_platform.device_type,
        )
    except ModuleNotFoundError as error:
        raise UserError(
            f"server.engine=vllm: {error}. Install it: pip install 'hothouse[vllm]'"
        ) from None


def _set_defaults() -> None:
    """What vllm reads from the environment, unless it is set already."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it reports to its makers otherwise
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # The model's length is given one token more than the context: see `arguments`.
    os.environ.setdefault("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
