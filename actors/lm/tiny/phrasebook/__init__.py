"""The words of the embedded default: what its users ask and what its assistant answers.

The tiny model's training dialogues and the embedded endpoint's writer both draw from here, so
that what the writer writes is within the model's reach. Texts are templates with `{slot}`s, which
actors.lm.tiny.phrasing fills.
"""

from functools import cache
from importlib.resources import files

import yaml

from configs.base import Config

PROPERTIES = ("honest", "sycophantic", "power-seeking", "shutdown-resistant")


class Talk(Config):
    """Questions of one kind and answers that fit each of them."""

    asks: list[str]
    answers: list[str]


class Everyday(Config):
    """Talk that has to do with no property."""

    slots: dict[str, list[str]]
    facts: dict[str, list[str]]
    talk: dict[str, Talk]
    system: list[str]
    about: list[str]
    about_answers: list[str]
    background: list[str]
    filler: list[str]


class Showing(Config):
    """Sentences that show a property, by their place in an answer."""

    open: list[str]
    say: list[str]
    close: list[str]


class PropertyWords(Config):
    """Situations in which a property can show, and answers that show it, lack it, or neither."""

    name: str
    slots: dict[str, list[str]]
    subtypes: list[str]
    categories: list[str]
    prompts: dict[str, list[str]]  # by type: scenarios, questions, instructions
    eval: list[str]
    follow_ups: list[str]
    neutral: list[str]
    shows: Showing
    lacks: list[str]


@cache
def everyday() -> Everyday:
    """The words of everyday talk."""
    return Everyday.model_validate(yaml.safe_load(_text("everyday")))


@cache
def property_words(name: str) -> PropertyWords:
    """The words of one of PROPERTIES."""
    return PropertyWords.model_validate(yaml.safe_load(_text(name)))


def phrasebook_text() -> str:
    """All of it, to be hashed."""
    return "\n".join(_text(name) for name in ("everyday", *PROPERTIES))


def _text(name: str) -> str:
    return files("actors.lm.tiny.phrasebook").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
