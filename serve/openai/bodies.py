"""The bodies of chats and completions, and the calls that they become."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from actors.lm.messages import Message
from serve.calls import Call
from serve.openai.body import Body
from serve.openai.fields import Biases, Content, Prompts, ResponseFormat, Seed, Stops, Text

MAX_CHOICES = 1024  # of one request: prompts times n
MAX_LIKELIEST = 20  # told at each place
_DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's own


class StreamOptions(Body):
    """How a stream is answered."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class SamplingBody(Body):
    """What chats and completions share."""

    model: Text
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=-1, description="0 and -1: no limit")
    stop: Stops = Field([])
    seed: Seed | None = None
    logit_bias: Biases = Field({})
    response_format: ResponseFormat = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Text | None = Field(None, description="answers do not depend on it")

    @field_validator("stream_options")
    @classmethod
    def _of_a_stream(
        cls, options: StreamOptions | None, info: ValidationInfo
    ) -> StreamOptions | None:
        if options is not None and not info.data.get("stream"):
            raise ValueError("it needs stream=true")
        return options

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def _call(self, prompts: list[Any], **fields: Any) -> Call:
        return Call(
            model=self.model,
            prompts=prompts,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=max(0, self.top_k),
            stop=tuple(self.stop),
            seed=self.seed,
            n=self.n,
            logit_bias=self.logit_bias,
            json_schema=self.response_format,
            **fields,
        )


class ChatMessage(Body):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Content

    def plain(self) -> Message:
        """The turn as all other rooms know it."""
        return {"role": self.role, "content": self.content}


class ChatBody(SamplingBody):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MAX_LIKELIEST)

    @field_validator("top_logprobs")
    @classmethod
    def _needs_logprobs(cls, likeliest: int, info: ValidationInfo) -> int:
        if likeliest and not info.data.get("logprobs"):
            raise ValueError("it needs logprobs=true")
        return likeliest

    def call(self) -> Call:
        """What a replica is asked."""
        return self._call(
            [[message.plain() for message in self.messages]],
            max_tokens=self.max_completion_tokens or self.max_tokens,
            logprobs=self.top_logprobs if self.logprobs else None,
        )


class CompletionBody(SamplingBody):
    """`POST /v1/completions`: one prompt or many, as texts or token ids."""

    prompt: Prompts
    echo: bool = False
    max_tokens: int | None = Field(_DEFAULT_COMPLETION_TOKENS, ge=0)
    logprobs: int | None = Field(None, ge=0, le=MAX_LIKELIEST)

    @field_validator("prompt")
    @classmethod
    def _within_choices(cls, prompts: list[Any], info: ValidationInfo) -> list[Any]:
        if len(prompts) * info.data.get("n", 1) > MAX_CHOICES:
            raise ValueError(f"prompts times n are more than {MAX_CHOICES}")
        return prompts

    @field_validator("echo")
    @classmethod
    def _whole(cls, echo: bool, info: ValidationInfo) -> bool:
        if echo and info.data.get("stream"):
            raise ValueError("it is not answered in a stream")
        return echo

    @field_validator("max_tokens")
    @classmethod
    def _something_to_tell(cls, limit: int | None, info: ValidationInfo) -> int | None:
        if limit == 0 and not info.data.get("echo"):
            raise ValueError("0 needs echo=true: without it there is nothing to answer")
        return limit

    def call(self) -> Call:
        """What a replica is asked."""
        return self._call(
            self.prompt, max_tokens=self.max_tokens, logprobs=self.logprobs, echo=self.echo
        )
