"""Fields of request bodies: what each takes, and how it is told in the API's schema.

Validators stand before the types: a union of types would report a wrong value once per member.
"""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from serve.calls import Prompt

MAX_STOPS = 16
_MAX_BIAS = 100.0
_MOST_DIGITS = 9  # of a token id
_STRINGS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_TEXT_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
}
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}


def check_unicode(text: str) -> str:
    """ValueError for half of a surrogate pair, which JSON can hold and no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half of a surrogate pair, which is not Unicode") from None
    return text


def _listed_stop(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) for one in stops):
        raise ValueError("it must be a string or a list of strings")
    if len(stops) > MAX_STOPS:
        raise ValueError(f"at most {MAX_STOPS} strings")
    if "" in stops:
        raise ValueError("a stop string is empty")
    return [check_unicode(one) for one in stops]


def _joined_parts(content: Any) -> str:
    """A message's text in one piece."""
    if isinstance(content, str):
        return check_unicode(content)
    if not isinstance(content, list):
        raise ValueError("it must be a string or a list of text parts")
    texts = []
    for part in content:
        match part:
            case {"type": "text", "text": str() as text}:
                texts.append(check_unicode(text))
            case _:
                raise ValueError('only text is understood: {"type": "text", "text": "..."}')
    return "".join(texts)


def _listed_prompts(prompt: Any) -> list[Prompt]:
    """One text, one list of token ids, or a list of either."""
    prompts = [prompt] if isinstance(prompt, str) or _are_tokens(prompt) else prompt
    if not isinstance(prompts, list) or not prompts:
        raise ValueError(
            "it must be a text, a list of token ids, or a list of texts or of lists of token ids"
        )
    for i, one in enumerate(prompts):
        if isinstance(one, str):
            check_unicode(one)
        elif not _are_tokens(one):
            raise ValueError(f"prompt {i} is neither a text nor a list of token ids")
    return prompts


def _are_tokens(prompt: Any) -> bool:
    # `type` and not isinstance: JSON's true is no token.
    return isinstance(prompt, list) and bool(prompt) and all(type(one) is int for one in prompt)


def _biases(given: Any) -> dict[int, float]:
    if not isinstance(given, dict):
        raise ValueError("it must map token ids to numbers")
    for token, bias in given.items():
        if not (token.isascii() and token.isdecimal() and len(token) <= _MOST_DIGITS):
            raise ValueError("a key is not a token id")
        if type(bias) not in (int, float) or not -_MAX_BIAS <= bias <= _MAX_BIAS:
            raise ValueError(f"the bias of token {token} is not a number from -100 to 100")
    return {int(token): float(bias) for token, bias in given.items()}


def _json_schema(response_format: Any) -> str | None:
    """The JSON schema, as text, that the answer is held to."""
    match response_format:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return '{"type": "object"}'
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return check_unicode(json.dumps(schema, ensure_ascii=False))
    raise ValueError(
        'it must be {"type": "text"}, {"type": "json_object"} or '
        '{"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}'
    )


Text = Annotated[str, AfterValidator(check_unicode)]
Stops = Annotated[list[str], BeforeValidator(_listed_stop), WithJsonSchema(_STRINGS)]
Content = Annotated[
    str,
    BeforeValidator(_joined_parts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": _TEXT_PART}]}),
]
Prompts = Annotated[
    list[Any],
    BeforeValidator(_listed_prompts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                _TOKENS,
                {"type": "array", "items": _TOKENS, "minItems": 1},
            ]
        }
    ),
]
Biases = Annotated[
    dict[int, float],
    BeforeValidator(_biases),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^[0-9]{{1,{_MOST_DIGITS}}}$"},
            "additionalProperties": {"type": "number", "minimum": -_MAX_BIAS, "maximum": _MAX_BIAS},
        }
    ),
]
ResponseFormat = Annotated[
    str | None,
    BeforeValidator(_json_schema),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "type": {"enum": ["text", "json_object", "json_schema"]},
                "json_schema": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "strict": {"type": "boolean"},
                        "schema": {"type": "object"},
                    },
                    "required": ["name", "schema"],
                },
            },
            "required": ["type"],
        }
    ),
]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
