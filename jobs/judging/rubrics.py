"""Rubrics: what a judge is told to look for, property by property, as text named by its hash."""

from collections.abc import Iterable, Mapping
from string import Template
from typing import NamedTuple

from actors.lm.messages import Conversation
from actors.store.inputs import read_input
from actors.store.storage import Storage
from configs.errors import UserError, did_you_mean
from jobs.judging.templates import filled_text, rubric_text, text_hash

PLACEHOLDERS = ("property", "conversation")


class Rubric(NamedTuple):
    """A judge's instructions, with places for the property and the conversation."""

    text: str

    @property
    def hash(self) -> str:
        """Names the text in records, tables and results."""
        return text_hash(self.text)

    def filled(self, property_name: str, conversation: str) -> Conversation:
        """The messages that put the question."""
        return filled_text(self.text, property=property_name, conversation=conversation)


def read_rubrics(
    files: Mapping[str, str], kind: str, properties: Iterable[str], storage: Storage
) -> dict[str, Rubric]:
    """The rubric of each property: the user's file where one is given, else the one of `kind`.

    Raises:
        UserError: a file cannot be used, or is given for a property that is not judged.
    """
    default = Rubric(rubric_text(kind))
    rubrics = dict.fromkeys(properties, default)
    for name, path in files.items():
        if name not in rubrics:
            hint = did_you_mean(name, list(rubrics))
            raise UserError(f'rubrics names "{name}", which the eval file does not.{hint}')
        rubrics[name] = parse_rubric(path, read_input(path, storage))
    return rubrics


def parse_rubric(path: str, data: bytes) -> Rubric:
    """The rubric in a file's bytes; `path` names it in errors."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {error}.") from None
    form = Template(text)
    if not form.is_valid():
        raise UserError(f"{path}: a $ that begins no placeholder; write $$ for a dollar sign.")
    found = form.get_identifiers()
    for name in PLACEHOLDERS:
        if name not in found:
            raise UserError(f"{path}: the placeholder ${name} is missing; put it where it belongs.")
    for name in found:
        if name not in PLACEHOLDERS:
            known = " and ".join(f"${known}" for known in PLACEHOLDERS)
            raise UserError(f"{path}: unknown placeholder ${name}; a rubric has {known}.")
    return Rubric(text)
