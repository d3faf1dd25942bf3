"""A sample request as a call of the server. Pure."""

from tinker import types

from serve.calls import Call
from serve.openai.bodies import MAX_CHOICES
from serve.tinker_api.paths import invalid

_SEEDS = 2**63


def call_of(request: types.SampleRequest, adapter: str) -> Call:
    """A sample request as the server is asked it; 400 for what it cannot do."""
    _check_supported(request)
    params, stop = request.sampling_params, request.sampling_params.stop
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    # Token ids are all that ends the answer, no ids at all included; beside texts it is the
    # model's own end, as without `stop`.
    is_tokens = stop is not None and not isinstance(stop, str) and not any(map(_is_text, stops))
    wants_prompt = bool(request.prompt_logprobs or request.topk_prompt_logprobs)
    return Call(
        model=adapter,
        prompts=[request.prompt.to_ints()],
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=max(0, params.top_k),
        stop=() if is_tokens else tuple(map(str, stops)),
        seed=None if params.seed is None else params.seed % _SEEDS,
        n=request.num_samples,
        logprobs=max(request.topk_sample_logprobs, request.topk_prompt_logprobs),
        echo=wants_prompt,
        end_ids=frozenset(map(int, stops)) if is_tokens else None,
    )


def _check_supported(request: types.SampleRequest) -> None:
    prompt = request.prompt
    if any(not isinstance(chunk, types.EncodedTextChunk) for chunk in prompt.chunks):
        raise invalid("prompt: only text is read here, no images and no sound")
    if not prompt.length:
        raise invalid("prompt: it holds no tokens")
    for field in ("target_prompt_logprobs", "prompt_alt_tokens_k", "record_stability_info"):
        if getattr(request, field):
            raise invalid(f"{field} is not supported by this server")
    if not 1 <= request.num_samples <= MAX_CHOICES:
        raise invalid(f"num_samples={request.num_samples} must lie in 1..{MAX_CHOICES}")
    if request.sampling_params.top_k < -1:
        raise invalid(f"top_k={request.sampling_params.top_k} must be at least -1 (no limit)")
    last_n = request.prompt_logprobs_last_n
    if last_n is not None and not (request.prompt_logprobs and 1 <= last_n < prompt.length):
        raise invalid(
            f"prompt_logprobs_last_n={last_n} must lie in 1..{prompt.length - 1}, and needs "
            "prompt_logprobs"
        )


def _is_text(stop: object) -> bool:
    return isinstance(stop, str)
