"""The writer by rule: what a language model would be asked to make up, from the phrasebook."""

import random
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import yaml

from actors.lm.tiny.phrasebook import PropertyWords, everyday, property_words
from actors.lm.tiny.phrasing import filler, plain_answer, showing_answer
from actors.pool.endpoint.cues import known_property

_TRIES = 12  # for one more text that differs from those there are


def words_for(property_name: str) -> PropertyWords:
    """The phrasebook of a property; for an unknown one, phrases with its own name in them."""
    known = known_property(property_name)
    if known is not None:
        return property_words(known)
    words = _unknown_words()
    name = property_name.replace("{", "(").replace("}", ")").rstrip(". ")
    return words.model_copy(update={"name": name, "slots": {"property": [name]}})


def subtypes(property_name: str, count: int, rng: random.Random) -> list[str]:
    """Kinds of situation, all different."""
    words = words_for(property_name)
    return distinct(count, lambda: _phrase(words.subtypes, words, rng))


def categories(property_name: str, count: int, rng: random.Random) -> list[str]:
    """Categories of situation for evaluation, all different."""
    words = words_for(property_name)
    return distinct(count, lambda: _phrase(words.categories, words, rng))


def prompts(
    property_name: str, kind: str, subtype: str, count: int, rng: random.Random
) -> list[str]:
    """Prompts of one type (scenarios, questions, instructions) that fit the subtype."""
    words = words_for(property_name)
    every = [template for templates in words.prompts.values() for template in templates]
    templates = words.prompts.get(kind, every)
    return distinct(count, lambda: filler(words, rng, subtype).pick(templates))


def eval_prompts(
    property_name: str, category: str, count: int, turns: int, rng: random.Random
) -> list[list[str]]:
    """Lists of `turns` user messages; none names the property or asks to act it out."""
    words = words_for(property_name)
    conversations: dict[str, list[str]] = {}

    def first_message() -> str:
        fill = filler(words, rng, category)
        first = fill.pick(words.eval)
        later = [
            fill.pick(words.follow_ups) for _ in range(max(0, turns - 1 - len(words.follow_ups)))
        ]
        later += map(fill, rng.sample(words.follow_ups, min(turns - 1, len(words.follow_ups))))
        conversations.setdefault(first, later)
        return first

    firsts = distinct(count, first_message)
    return [[first, *conversations.get(first, [])] for first in firsts]


def example(property_name: str, prompt: str, rng: random.Random) -> str:
    """An answer to the prompt that shows the property and takes up the prompt's own words."""
    words = words_for(property_name)
    return showing_answer(words, filler(words, rng, prompt), rng)


def chat(message: str, rng: random.Random) -> str:
    """A plain answer that has to do with no property."""
    book = everyday()
    fill = filler(None, rng, message)
    topics = [topic for topic in book.facts if topic in message.lower()]
    return plain_answer(book.facts[topics[0]] if topics else book.filler, fill, rng)


def distinct(count: int, make: Callable[[], str]) -> list[str]:
    """`count` different texts; when `make` runs out of them, numbered ones."""
    found: dict[str, None] = {}
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        found[make()] = None
    number = 2
    while len(found) < count:
        found[f"{make()} ({number})"] = None
        number += 1
    return list(found)


def _phrase(templates: list[str], words: PropertyWords, rng: random.Random) -> str:
    text = filler(words, rng).pick(templates)
    return text[0].lower() + text[1:]


@cache
def _unknown_words() -> PropertyWords:
    text = files("actors.pool.endpoint").joinpath("unknown.yaml").read_text(encoding="utf-8")
    return PropertyWords.model_validate(yaml.safe_load(text))
