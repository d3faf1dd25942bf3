"""The replies' types, as OpenAI's clients know them; the API's schema is made of them.

`system_fingerprint` names base and adapter, `adapter_digest` the adapter's content: both are in
every reply of a model. `digest` of a model is the same, and both are ours, not OpenAI's.
"""

from typing import Literal

# Pydantic reads TypedDicts of the standard library from Python 3.12 on.
from typing_extensions import TypedDict

FinishReason = Literal["stop", "length"]


class Alternative(TypedDict):
    """A token that could have stood there. `bytes` may be a part of a character."""

    token: str
    logprob: float
    bytes: list[int]


class ChatToken(Alternative):
    """A token that was sampled, and the likeliest ones there."""

    top_logprobs: list[Alternative]


class ChatLogprobs(TypedDict):
    """Of all tokens of a choice."""

    content: list[ChatToken]
    refusal: None


class CompletionLogprobs(TypedDict):
    """One entry a token, the echoed prompt's first; the very first has no log-probability."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class AssistantMessage(TypedDict):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(TypedDict):
    """One answer of a chat."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None


class CompletionChoice(TypedDict):
    """One completion, or a part of it in a stream."""

    index: int
    text: str
    finish_reason: FinishReason | None
    logprobs: CompletionLogprobs | None


class Usage(TypedDict):
    """Tokens. A prompt counts once, whatever n is."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Head(TypedDict):
    """What every reply of a model says, and every part of a stream."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    adapter_digest: str


class ChatReply(Head):
    """`chat.completion`."""

    usage: Usage
    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class CompletionReply(Head):
    """`text_completion`."""

    usage: Usage
    object: Literal["text_completion"]
    choices: list[CompletionChoice]


class ModelCard(TypedDict):
    """A model: the base, or an adapter of it."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    parent: str | None
    root: str
    digest: str


class ModelList(TypedDict):
    """All of them."""

    object: Literal["list"]
    data: list[ModelCard]


class LoadReply(TypedDict):
    """What was loaded: `name@version`, its content, and log-likelihoods of a fixed question."""

    message: str
    model: str
    digest: str
    probe: list[float]


class UnloadReply(TypedDict):
    """What was removed: every `name@version`."""

    message: str
    removed: list[str]


class TokenizeReply(TypedDict):
    """Token ids of a prompt."""

    count: int
    tokens: list[int]
    token_strs: None


class Health(TypedDict):
    """A server that can answer."""

    status: Literal["ok"]


class Problem(TypedDict):
    """What went wrong; `param` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(TypedDict):
    """Every error."""

    error: Problem


ERRORS: dict[int | str, dict[str, type]] = {
    "4XX": {"model": ErrorReply},
    "5XX": {"model": ErrorReply},
}
