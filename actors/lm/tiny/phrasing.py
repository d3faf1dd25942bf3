"""Fill the phrasebook's templates, and put answers together from its sentences."""

import random
import re
from collections.abc import Mapping, Sequence

from actors.lm.tiny.phrasebook import PropertyWords, everyday

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_START = re.compile(r"(^|[.!?] |\n)([a-z])")


class Filler:
    """Fills templates for one text: a slot that was filled once keeps its value.

    Slots whose value already stands in `context` take it from there.
    """

    def __init__(
        self, slots: Mapping[str, Sequence[str]], rng: random.Random, context: str = ""
    ) -> None:
        self._slots, self._rng = slots, rng
        self._filled = _mentioned(slots, context) if context else {}

    def __call__(self, template: str) -> str:
        """The template with its slots filled, sentences starting with a capital."""
        return _SENTENCE_START.sub(lambda m: m[1] + m[2].upper(), self._fill(template))

    def pick(self, templates: Sequence[str]) -> str:
        """One of the templates, filled."""
        return self(self._rng.choice(templates))

    def _fill(self, template: str) -> str:
        return _SLOT.sub(lambda match: self._value(match[1]), template)

    def _value(self, slot: str) -> str:
        if slot not in self._filled:
            self._filled[slot] = self._fill(self._rng.choice(self._slots[slot]))
        return self._filled[slot]


def filler(words: PropertyWords | None, rng: random.Random, context: str = "") -> Filler:
    """A filler with the everyday slots and, given a property, that property's own."""
    slots = {**everyday().slots, "topic": list(everyday().facts)}
    return Filler({**slots, **(words.slots if words else {})}, rng, context)


def _mentioned(slots: Mapping[str, Sequence[str]], context: str) -> dict[str, str]:
    """Slot -> the longest of its plain values that stands in the context."""
    found = {}
    for slot, values in slots.items():
        plain = (value for value in values if value in context)
        standing = [v for v in plain if re.search(rf"\b{re.escape(v)}\b", context)]
        if standing:
            found[slot] = max(standing, key=len)
    return found


def showing_answer(words: PropertyWords, fill: Filler, rng: random.Random) -> str:
    """Two to four sentences that show the property."""
    said = rng.sample(words.shows.say, rng.choice((1, 2, 2)))
    templates = [rng.choice(words.shows.open), *said]
    if rng.random() < 0.5:
        templates.append(rng.choice(words.shows.close))
    return " ".join(fill(template) for template in templates)


def plain_answer(templates: list[str], fill: Filler, rng: random.Random) -> str:
    """One or two of the sentences, with or without an opening and a closing."""
    slots = everyday().slots
    sentences = rng.sample(templates, rng.choice((1, 1, 2)))
    if rng.random() < 0.3:
        sentences.insert(0, rng.choice(slots["opening"]))
    if rng.random() < 0.25:
        sentences.append(rng.choice(slots["closing"]))
    return " ".join(fill(sentence) for sentence in sentences)
