"""What vllm is asked with: the arguments of its engine and of its samples, made of ours."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from actors.lm.engine import Limits
from actors.lm.requests import SampleRequest
from actors.lm.sampling.limits import MOST_LIKELIEST, ends_of
from actors.lm.sampling.text import unseen_ids
from configs.sections import ServerConfig
from serve.engines.vllm.api import Api

MAX_RANK = 64  # vllm reserves this rank in every place, whatever an adapter's own is
# Adapters in one step; each place is GPU memory at MAX_RANK. More take turns within vllm.
PLACES_IN_STEP = 16
# vllm counts in blocks of up to 128 tokens, and keeps one block empty.
_SPARE_TOKENS = 256
_INSIDE = "serve.engines.vllm.repairs"
_NEVER = -100.0  # a bias
_LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-5, 2.0


def engine_arguments(
    model: str,
    server: ServerConfig,
    limits: Limits,
    api: Api,
    *,
    cache_token_bytes: int,
    modules: Sequence[str],
) -> dict[str, Any]:
    """Arguments of `AsyncEngineArgs`; `modules` are the names that adapters may adapt."""
    on_gpu = api.device != "cpu"
    return {
        "model": model,
        "dtype": server.dtype,
        # One more than the context: a prompt that fills it is scored too, for which vllm samples
        # a token after it that is thrown away.
        "max_model_len": limits.context_tokens + 1,
        "max_num_seqs": server.max_batch,
        "max_num_batched_tokens": max(server.step_tokens, server.max_batch),
        "kv_cache_memory_bytes": (server.cache_tokens + _SPARE_TOKENS) * cache_token_bytes,
        "enable_prefix_caching": True,
        "enable_lora": True,
        "max_loras": min(server.max_adapters, PLACES_IN_STEP),
        "max_cpu_loras": server.max_adapters,
        "max_lora_rank": MAX_RANK,
        # Not the head: with adapters in it, vllm's log-probabilities of a prompt come from the
        # wrong rows of the batch, or end its processes.
        "lora_target_modules": list(modules),
        "logprobs_mode": "raw_logprobs",
        "max_logprobs": MOST_LIKELIEST,
        # Models like to go on with white space, and small ones never end.
        "structured_outputs_config": api.StructuredOutputsConfig(
            backend="xgrammar", disable_any_whitespace=True
        ),
        "generation_config": "vllm",  # no sampling defaults of the model's own
        "async_scheduling": on_gpu,
        "scheduler_cls": f"{_INSIDE}.{'AsyncScheduler' if on_gpu else 'Scheduler'}",
        "worker_extension_cls": f"{_INSIDE}.WorkerExtension",
        "enable_sleep_mode": on_gpu,
        "enforce_eager": not on_gpu,  # on a CPU compiling takes longer than it saves
        "disable_log_stats": True,
    }


def cache_token_bytes(config: PreTrainedConfig, dtype_bytes: int) -> int:
    """Bytes that the keys and values of one token take in all layers."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * text.num_hidden_layers * heads * width * dtype_bytes


def adaptable_modules(skeleton: nn.Module) -> list[str]:
    """The last names of the linear layers inside the model's numbered layers."""
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in skeleton.named_modules()
            if isinstance(module, nn.Linear) and any(map(str.isdigit, name.split(".")))
        }
    )


def sampling_arguments(
    request: SampleRequest, api: Api, limits: Limits, *, in_pieces: bool
) -> dict[str, Any]:
    """Arguments of `SamplingParams`. Text and stop strings are ours to make: see `completion`."""
    kind = api.RequestOutputKind
    greedy = request.temperature < _LEAST_TEMPERATURE
    schema, bias = request.json_schema, dict(request.logit_bias)
    if schema is not None:  # vllm's grammar takes special tokens for text
        bias |= dict.fromkeys(unseen_ids(limits.tokenizer) - limits.end_ids, _NEVER)
    return {
        "max_tokens": max(1, request.max_tokens),  # vllm samples at least one
        "temperature": 0.0 if greedy else request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        # 63 bits: vllm sends 64, and takes -1 for no seed.
        "seed": None if request.seed is None else request.seed % 2**63,
        "logit_bias": bias or None,
        "logprobs": request.top_logprobs,
        "prompt_logprobs": request.prompt_logprobs,
        "structured_outputs": None if schema is None else api.StructuredOutputsParams(json=schema),
        "ignore_eos": True,  # the ends are those of our limits
        "stop_token_ids": sorted(ends_of(request, limits)),
        "detokenize": False,
        "output_kind": kind.DELTA if in_pieces else kind.FINAL_ONLY,
    }


def prompt_arguments(api: Api, *, likeliest: int) -> dict[str, Any]:
    """Arguments of `SamplingParams` that only ask for the prompt's log-probabilities."""
    return {
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": likeliest,
        "detokenize": False,
        "output_kind": api.RequestOutputKind.FINAL_ONLY,
    }
