"""Instructions as text: filled in behind the system line, and addressed by their hash."""

from pathlib import Path
from string import Template

from actors.lm.messages import Conversation, user
from configs.base import digest

_FOLDER = Path(__file__).parent / "prompts"


def filled_text(text: str, **values: object) -> Conversation:
    """The messages of one call: the system line, and a template's text with its values."""
    content = Template(text).substitute({k: str(v) for k, v in values.items()})
    return [{"role": "system", "content": read_text(_FOLDER, "system")}, user(content)]


def text_hash(text: str) -> str:
    """Short hash that names a template's text; a changed rubric is another rubric."""
    return digest([read_text(_FOLDER, "system"), text])[:12]


def rubric_text(kind: str) -> str:
    """The project's own rubric of a kind: number, verdict, coherence."""
    return read_text(_FOLDER, kind)


def read_text(folder: Path, name: str) -> str:
    """The text of the template `name` in a folder."""
    return (folder / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
