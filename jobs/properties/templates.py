"""The prompts as text files beside the code, filled in and addressed by their hash."""

from pathlib import Path
from string import Template

from actors.lm.messages import Conversation, user
from configs.base import digest

_FOLDER = Path(__file__).parent / "prompts"


def filled(name: str, **values: object) -> Conversation:
    """The messages of one call: the system line, and the template `name` with its values."""
    return filled_text(template(name), **values)


def filled_text(text: str, **values: object) -> Conversation:
    """The same for a template that is given as text."""
    content = Template(text).substitute({k: str(v) for k, v in values.items()})
    return [{"role": "system", "content": template("system")}, user(content)]


def template(name: str) -> str:
    """The text of the template `name`."""
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def text_hash(text: str) -> str:
    """Short hash that names a template's text; a changed rubric is another rubric."""
    return digest([template("system"), text])[:12]
