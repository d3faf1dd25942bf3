"""A schema in the prompt, for providers that take none elsewhere: written, and read back."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from actors.lm.messages import Message, user

_END = "</json_schema>"
_REQUEST = "Answer with nothing but JSON that fits this JSON schema."
_PROMPTED = re.compile(
    rf'(.*)\n\n{re.escape(_REQUEST)}\n<json_schema name="([A-Za-z0-9_-]{{1,64}})">\n(.*)\n{_END}',
    re.DOTALL,
)


def with_schema(messages: Sequence[Message], form: Mapping[str, Any]) -> list[Message]:
    """The messages with the schema of the response format `form` at the end of the last one.

    Not in a message of its own where it can be helped: many chat templates take no two user
    messages in a row.
    """
    asked = form["json_schema"]
    schema = json.dumps(asked["schema"], ensure_ascii=False)
    request = f'\n\n{_REQUEST}\n<json_schema name="{asked["name"]}">\n{schema}\n{_END}'
    last = messages[-1]
    if last["role"] != "user":
        return [*messages, user(request)]
    return [*messages[:-1], user(last["content"] + request)]


def without_schema(content: str) -> tuple[str, dict[str, Any]] | None:
    """What `with_schema` was given, read back from its last message; None where it is no such."""
    found = _PROMPTED.fullmatch(content) if content.endswith(_END) else None
    if found is None:
        return None
    try:
        schema = json.loads(found[3])
    except (ValueError, RecursionError):
        return None
    if not isinstance(schema, dict):
        return None
    asked = {"name": found[2], "strict": True, "schema": schema}
    return found[1], {"type": "json_schema", "json_schema": asked}
