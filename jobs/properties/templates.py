"""The prompts as text files beside the code, filled in."""

from pathlib import Path

from actors.lm.messages import Conversation
from jobs.judging.templates import filled_text, read_text

_FOLDER = Path(__file__).parent / "prompts"


def filled(name: str, **values: object) -> Conversation:
    """The messages of one call: the system line, and the template `name` with its values."""
    return filled_text(read_text(_FOLDER, name), **values)
