"""What a base model can take, and which requests keep to it."""

import math
from collections.abc import Sequence

from actors.lm.base import LoadedBase
from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest
from actors.lm.requests import SampleRequest

MOST_LIKELIEST = 20  # tokens told at one place, as OpenAI's API has it
_MOST_BIAS = 100.0
_MOST_STOPS = 64


def limits_of(base: LoadedBase) -> Limits:
    """Read the limits off a model's configs."""
    end = base.model.generation_config.eos_token_id if base.model.generation_config else None
    ends = {*(end if isinstance(end, list) else [end]), base.tokenizer.eos_token_id} - {None}
    config = base.model.config.get_text_config()
    return Limits(
        base.tokenizer, frozenset(ends), config.max_position_embeddings, config.vocab_size
    )


def ends_of(request: SampleRequest, limits: Limits) -> frozenset[int]:
    """The tokens that end a request's text."""
    return limits.end_ids if request.end_ids is None else request.end_ids


def check_tokens(ids: Sequence[int], extra_tokens: int, limits: Limits) -> None:
    """BadRequest unless the ids exist and they fit the context with `extra_tokens` more."""
    if not ids:
        raise BadRequest("the prompt holds no tokens", "prompt")
    if not all(0 <= token < limits.vocabulary for token in ids):
        raise BadRequest(f"token ids must lie in 0..{limits.vocabulary - 1}", "prompt")
    if len(ids) + extra_tokens > limits.context_tokens:
        raise BadRequest(
            f"prompt ({len(ids)} tokens) and completion ({extra_tokens}) exceed the model's "
            f"context of {limits.context_tokens} tokens",
            "prompt" if len(ids) >= limits.context_tokens else "max_tokens",
        )


def check_request(request: SampleRequest, limits: Limits) -> None:
    """BadRequest unless every field is in its range; a schema is looked at when it is compiled."""
    _check_sampling(request, limits)
    _check_bias(request, limits)
    for field, count in (
        ("top_logprobs", request.top_logprobs),
        ("prompt_logprobs", request.prompt_logprobs or 0),
    ):
        if not 0 <= count <= MOST_LIKELIEST:
            raise BadRequest(f"{field}={count} must lie in 0..{MOST_LIKELIEST}", field)
    check_tokens(request.prompt_ids, request.max_tokens, limits)


def _check_sampling(request: SampleRequest, limits: Limits) -> None:
    least = 1 if request.prompt_logprobs is None else 0
    if request.max_tokens < least:
        raise BadRequest(f"max_tokens={request.max_tokens} must be at least {least}", "max_tokens")
    if not (math.isfinite(request.temperature) and request.temperature >= 0):
        raise BadRequest(
            f"temperature={request.temperature} must be finite and at least 0", "temperature"
        )
    if not 0 < request.top_p <= 1:
        raise BadRequest(f"top_p={request.top_p} must lie above 0 and be at most 1", "top_p")
    if request.top_k < 0:
        raise BadRequest(f"top_k={request.top_k} must be at least 0 (0: no limit)", "top_k")
    if "" in request.stop:
        raise BadRequest("a stop string is empty", "stop")
    if len(request.stop) > _MOST_STOPS:
        raise BadRequest(f"{len(request.stop)} stop strings; at most {_MOST_STOPS}", "stop")
    ends = request.end_ids or frozenset()
    if len(ends) > _MOST_STOPS or not all(0 <= token < limits.vocabulary for token in ends):
        raise BadRequest(
            f"tokens that end the text: at most {_MOST_STOPS}, in 0..{limits.vocabulary - 1}",
            "stop",
        )


def _check_bias(request: SampleRequest, limits: Limits) -> None:
    for token, bias in request.logit_bias.items():
        if not 0 <= token < limits.vocabulary:
            raise BadRequest(
                f"logit_bias: token {token} must lie in 0..{limits.vocabulary - 1}", "logit_bias"
            )
        if not abs(bias) <= _MOST_BIAS:  # NaN is in no range either
            raise BadRequest(
                f"logit_bias: {bias} must lie in -{_MOST_BIAS:g}..{_MOST_BIAS:g}", "logit_bias"
            )
