"""The bodies of vLLM's own routes: adapters that come and go, and token ids of a prompt."""

from typing import Literal

from pydantic import Field, model_validator

from serve.calls import Prompt
from serve.openai.bodies import ChatMessage
from serve.openai.body import Body
from serve.openai.fields import Text


class LoadBody(Body):
    """`POST /v1/load_lora_adapter`. A name that is there gets its next version, never in place."""

    lora_name: Text = Field(min_length=1)
    lora_path: Text = Field(min_length=1)
    load_inplace: Literal[False] = False
    is_3d_lora_weight: Literal[False] = False


class UnloadBody(Body):
    """`POST /v1/unload_lora_adapter`. A bare name is all of its versions."""

    lora_name: Text = Field(min_length=1)
    lora_int_id: int | None = Field(None, description="vLLM's clients may send it; it says nothing")


class TokenizeBody(Body):
    """`POST /tokenize`: a text, or a conversation as a chat would render it."""

    model: Text | None = Field(None, description="is looked up; all share one tokenizer")
    prompt: Text | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1)
    add_special_tokens: bool | None = Field(
        None, description="of a text, by default true; a chat template writes its own"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "TokenizeBody":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("either prompt or messages must be given")
        if self.messages is not None and self.add_special_tokens:
            raise ValueError("add_special_tokens is for a prompt: a chat template writes its own")
        return self

    def asked(self) -> tuple[Prompt, bool]:
        """The prompt, and whether it gets the tokenizer's special tokens."""
        if self.messages is not None:
            return [message.plain() for message in self.messages], False
        return self.prompt or "", self.add_special_tokens is not False
