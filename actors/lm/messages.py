"""A chat message and a conversation, as every room passes them around."""

from typing import Literal, TypedDict

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """One turn."""

    role: Role
    content: str


Conversation = list[Message]


def user(content: str) -> Message:
    """A user's turn."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """An assistant's turn."""
    return {"role": "assistant", "content": content}
