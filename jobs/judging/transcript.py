"""A conversation as the judge reads it."""

from collections.abc import Sequence

from actors.lm.messages import Message


def transcript(messages: Sequence[Message]) -> str:
    """Turns behind their roles.

    What is said in it can neither close its frame nor pass for another's turn: further lines of a
    message are indented.
    """
    turns = [
        f"{m['role'].capitalize()}: " + "\n  ".join(m["content"].splitlines()) for m in messages
    ]
    return "\n".join(turns).replace("</conversation>", "<\\/conversation>")
