"""What every request body shares.

A field that would change the answer is never ignored: what is not supported is refused by its
name. Clients send many fields with the value that means "off"; those pass.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

# Values with which a field changes nothing.
_OFF: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "best_of": (1,),
    "continue_final_message": (False,),
    "frequency_penalty": (0,),
    "metadata": ({},),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "return_token_strs": (False,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
}


class Body(BaseModel):
    """A JSON object without fields that nothing here understands."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_what_is_off(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {k: v for k, v in body.items() if v is not None and v not in _OFF.get(k, ())}
