"""Where the question stands in a request's messages: labelled lines and tagged blocks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_LABEL = re.compile(r"^(\w+):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def last_user_message(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the user said last; in a request without a user, what was said last at all."""
    said = [message["content"] for message in messages if message["role"] == "user"]
    return said[-1] if said else messages[-1]["content"]


def labels(message: str) -> dict[str, str]:
    """`Label: value` lines; the first occurrence counts."""
    return dict(reversed(_LABEL.findall(message)))


def between(tag: str, message: str) -> str:
    """What stands between the first `<tag>` line and the last `</tag>` line."""
    found = re.search(rf"<{tag}>\n?(.*)</{tag}>", message, re.DOTALL)
    return found[1].strip() if found else ""
