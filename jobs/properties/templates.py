"""The prompts as text files beside the code, filled in and addressed by their hash."""

from pathlib import Path
from string import Template

from actors.lm.messages import Conversation, user
from configs.base import digest

_FOLDER = Path(__file__).parent / "prompts"


def filled(name: str, **values: object) -> Conversation:
    """The messages of one call: the system line, and the template `name` with its values."""
    text = Template(_read(name)).substitute({k: str(v) for k, v in values.items()})
    return [{"role": "system", "content": _read("system")}, user(text)]


def template_hash(name: str) -> str:
    """Short hash that names a template's text; a changed rubric is another rubric."""
    return digest([_read("system"), _read(name)])[:12]


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
