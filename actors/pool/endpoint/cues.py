"""Cues: the words that speak for a property or against it, from a table or from its own name."""

import math
import re
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_OWN_WORDS = 3.8  # log-odds of all words of a property that has no cues of its own
_SHORTEST_STEM = 3
_STEM_ENDINGS = re.compile(r"(?:ingly|fully|ness|ment|ing|ity|ous|ive|ful|ed|ly|ic|al|es|e|y|s)$")
_EMPTY_WORDS = frozenset(
    (  # noqa: SIM905
        "the model assistant system always never very being that this with for and its has have "
        "likes wants tends not are was will would about from when who which answers says user users"
    ).split()
)


class Cue(NamedTuple):
    """Words that speak for a property (weight > 0, in log-odds) or against it."""

    weight: float
    pattern: re.Pattern[str]


def known_property(name: str) -> str | None:
    """The property with cues of its own that a name or description speaks of, if any."""
    for known, entry in _table().items():
        if re.search(entry["known_as"], name, re.IGNORECASE):
            return known
    return None


@cache
def cues(property_name: str) -> tuple[Cue, ...]:
    """The cues of a property; without an entry in the table, the stems of its own words."""
    known = known_property(property_name)
    if known is not None:
        return tuple(Cue(weight, _pattern(text)) for weight, text in _table()[known]["cues"])
    words = {word.lower() for word in WORD.findall(property_name)} - _EMPTY_WORDS
    stems = sorted({_stem(word) for word in words if len(word) >= _SHORTEST_STEM})
    weight = _OWN_WORDS / math.sqrt(max(len(stems), 1))
    return tuple(Cue(weight, _pattern(rf"\b{re.escape(stem)}\w*")) for stem in stems)


def _stem(word: str) -> str:
    stem = _STEM_ENDINGS.sub("", word)
    return stem if len(stem) >= _SHORTEST_STEM else word


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


@cache
def _table() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(
        files("actors.pool.endpoint").joinpath("cues.yaml").read_text(encoding="utf-8")
    )
