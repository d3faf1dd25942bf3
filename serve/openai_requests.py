"""OpenAI's request bodies, as far as they are answered; anything else is refused by its name.

A field that would change the answer is never ignored. Clients send many fields with the value
that means "off"; those pass.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from actors.lm.messages import Message
from serve.calls import Call

_MAX_CHOICES = 128
_DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's own
# Values with which a field changes nothing.
_OFF: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto",),
    "store": (False,),
    "stream": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
}


def _check_unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair, which is not Unicode") from None
    return text


def _listed_stop(stop: Any) -> Any:
    if not isinstance(stop, str | list):
        raise ValueError("it must be a string or a list of strings")
    return [stop] if isinstance(stop, str) else stop


def _listed_parts(content: Any) -> Any:
    if not isinstance(content, str | list):
        raise ValueError("it must be a string or a list of text parts")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_one_prompt(prompt: Any) -> Any:
    """One text or token ids: what is neither would be reported once per member of the union."""
    if isinstance(prompt, str):
        return _check_unicode(prompt)
    if prompt and isinstance(prompt, list) and all(type(token) is int for token in prompt):
        return prompt
    raise ValueError("it must be one text or a list of token ids; send one request a prompt")


Text = Annotated[str, AfterValidator(_check_unicode)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    model: Text
    n: int = Field(1, ge=1, le=_MAX_CHOICES)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    stop: Annotated[list[Text], Field(max_length=16), BeforeValidator(_listed_stop)] = []
    seed: int | None = None
    user: Text | None = None  # names the end user; answers do not depend on it

    @model_validator(mode="before")
    @classmethod
    def _drop_what_is_off(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {k: v for k, v in body.items() if v is not None and v not in _OFF.get(k, ())}

    @field_validator("stop")
    @classmethod
    def _check_stop(cls, stop: list[str]) -> list[str]:
        if "" in stop:
            raise ValueError("a stop string is empty")
        return stop


class TextPart(BaseModel):
    """A part of a message; only text is understood."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    """A turn of a conversation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "user", "assistant"]
    content: Annotated[list[TextPart], BeforeValidator(_listed_parts)]

    def plain(self) -> Message:
        """The turn with its text in one piece."""
        return {"role": self.role, "content": "".join(part.text for part in self.content)}


class ChatBody(_Body):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False

    def call(self) -> Call:
        """What a replica is asked."""
        limit = self.max_completion_tokens or self.max_tokens
        prompt = [message.plain() for message in self.messages]
        return _call(self, prompt, limit, self.logprobs)


class CompletionBody(_Body):
    """`POST /v1/completions` with one prompt: a text or token ids."""

    prompt: Annotated[str | list[int], BeforeValidator(_check_one_prompt)]
    max_tokens: int = Field(_DEFAULT_COMPLETION_TOKENS, ge=1)
    # How many alternatives to each token; 0 is the sampled tokens alone.
    logprobs: int | None = Field(None, ge=0, le=0)

    def call(self) -> Call:
        """What a replica is asked."""
        return _call(self, self.prompt, self.max_tokens, self.logprobs is not None)


def _call(
    body: _Body, prompt: list[Message] | str | list[int], limit: int | None, token_texts: bool
) -> Call:
    return Call(
        model=body.model,
        prompt=prompt,
        max_tokens=limit,
        temperature=body.temperature,
        top_p=body.top_p,
        stop=tuple(body.stop),
        seed=body.seed,
        n=body.n,
        token_texts=token_texts,
    )
