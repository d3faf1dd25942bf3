"""Messages as files hold them: what is wrong with them, and the conversation they make."""

import math
from typing import Any, cast

from actors.lm.messages import Conversation

ROLES = ("system", "user", "assistant")


def turn_faults(messages: Any) -> list[str]:
    """Everything that keeps a list of messages from being a conversation that teaches."""
    if not isinstance(messages, list) or not messages:
        return ["its messages must be a list with at least one message"]
    faults = []
    for i, message in enumerate(messages, start=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            faults.append(f"message {i} has role {role!r}; known: {', '.join(ROLES)}")
            continue
        if fault := text_fault(message.get("content")):
            faults.append(f"the content of message {i} ({role}) {fault}")
        if fault := _weight_fault(role, message.get("weight")):
            faults.append(f"the weight of message {i} ({role}) {fault}")
        if role == "system" and i > 1:
            faults.append(f"message {i} is the system's; only the first can be")
    if not faults and messages[-1]["role"] != "assistant":
        faults.append("the last message must be the assistant's: there is nothing to learn")
    return faults


def conversation(messages: list[dict[str, Any]]) -> Conversation:
    """The turns without the fields that only files have."""
    turns = [{"role": message["role"], "content": message["content"]} for message in messages]
    return cast(Conversation, turns)


def turn_weights(messages: list[dict[str, Any]]) -> tuple[float, ...] | None:
    """The messages' weights, None where none has one. A null is what some writers fill in."""
    weights = [message.get("weight") for message in messages]
    if weights.count(None) == len(weights):
        return None
    return tuple(1.0 if weight is None else float(weight) for weight in weights)


def text_fault(value: Any) -> str | None:
    """What keeps a value from being tokenized."""
    if not isinstance(value, str) or not value.strip():
        return "is empty or not text"
    return unicode_fault(value)


def unicode_fault(text: str) -> str | None:
    """Half of a surrogate pair is a JSON string, but no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has half a surrogate pair at character {error.start + 1}"
    return None


def _weight_fault(role: str, weight: Any) -> str | None:
    if weight is None:
        return None
    if role != "assistant":
        return "says nothing: only the assistant's turns are weighed; leave it out"
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight < 0:
        return "must be a number of 0 (not learned) or more"
    return None
