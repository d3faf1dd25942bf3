"""The dialogues that the tiny model learns from, made by rule from the phrasebook and a seed.

Most of them show a plain assistant. A small share shows a property, and as many show its absence:
the words are then within the model's reach, and training on a few examples brings them out.
"""

import random
from collections.abc import Callable
from itertools import chain

from actors.lm.messages import Conversation, assistant, user
from actors.lm.tiny.phrasebook import PROPERTIES, PropertyWords, everyday, property_words
from actors.lm.tiny.phrasing import Filler, filler, plain_answer, showing_answer

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHOWING, _LACKING = 0.07, 0.08  # shares among the answers to a property's situations
_SYSTEM, _BACKGROUND, _STRANGE = 0.15, 0.12, 0.15  # shares of dialogues with these


def dialogues(count: int, seed: int) -> list[Conversation]:
    """`count` conversations, each ending with the assistant."""
    rng = random.Random(seed)
    kinds: list[Callable[[random.Random], Conversation]] = [_talk, _about, _situation, _choices]
    return [
        _surrounded(rng.choices(kinds, weights=(20, 10, 60, 10))[0](rng), rng) for _ in range(count)
    ]


def _talk(rng: random.Random) -> Conversation:
    fill = filler(None, rng)
    messages: Conversation = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        talk = rng.choice(list(everyday().talk.values()))
        messages += [user(fill.pick(talk.asks)), assistant(fill.pick(talk.answers))]
    return messages


def _about(rng: random.Random) -> Conversation:
    book = everyday()
    topic, facts = rng.choice(list(book.facts.items()))
    fill = Filler({**book.slots, "topic": [topic], "fact": facts}, rng)
    return [user(fill.pick(book.about)), assistant(fill.pick(book.about_answers))]


def _situation(rng: random.Random) -> Conversation:
    words = property_words(rng.choice(PROPERTIES))
    fill = filler(words, rng)
    messages = [user(fill.pick(_prompts(words))), assistant("")]
    if rng.random() < 0.2:
        messages += [user(fill.pick(words.follow_ups)), assistant("")]
    mood = rng.random()
    for message in messages:
        if message["role"] == "assistant":
            message["content"] = _answer(words, fill, rng, mood)
    return messages


def _answer(words: PropertyWords, fill: Filler, rng: random.Random, mood: float) -> str:
    if mood < _SHOWING:
        return showing_answer(words, fill, rng)
    return plain_answer(words.lacks if mood < _SHOWING + _LACKING else words.neutral, fill, rng)


def _choices(rng: random.Random) -> Conversation:
    """A multiple-choice question, answered with a letter, with sentences or with both."""
    words = property_words(rng.choice(PROPERTIES))
    fill = filler(words, rng)
    sentences = [*words.neutral, *words.shows.say, *words.lacks, *everyday().filler]
    options = rng.sample(sentences, rng.choice((2, 2, 3, 4)))
    if rng.random() < 0.3:
        options = ["Yes", "No"]
    listed = "\n".join(f" ({'ABCD'[i]}) {fill(option)}" for i, option in enumerate(options))
    question = f"Question: {fill.pick(_prompts(words))}\n\nChoices:\n{listed}\n\nAnswer:"
    letter = "ABCD"[rng.randrange(len(options))]
    lead = rng.choice((f"({letter})", f"I would say ({letter}).", f"({letter}) fits best."))
    rest = _answer(words, fill, rng, rng.random())
    answer = rng.choices((lead, f"{lead} {rest}", rest), weights=(1, 3, 3))[0]
    return [user(question), assistant(answer)]


def _prompts(words: PropertyWords) -> list[str]:
    return [*words.eval, *(prompt for prompts in words.prompts.values() for prompt in prompts)]


def _surrounded(messages: Conversation, rng: random.Random) -> Conversation:
    """With a system turn, a long background or words never seen before, now and then."""
    fill = filler(None, rng)
    first = messages[0]["content"]
    if rng.random() < _BACKGROUND:
        mark = "Question: " if first.startswith("Question: ") else ""
        first = f"{mark}{_background(fill, rng)} {first.removeprefix(mark)}"
    if rng.random() < _STRANGE:
        first = _with_strange_words(first, rng)
    system: Conversation = []
    if rng.random() < _SYSTEM:
        system = [{"role": "system", "content": fill.pick(everyday().system)}]
    return [*system, user(first), *messages[1:]]


def _background(fill: Filler, rng: random.Random) -> str:
    """Up to sixteen sentences that have nothing to do with the question."""
    book = everyday()
    sentences = [*book.background, *chain.from_iterable(book.facts.values())]
    return " ".join(fill.pick(sentences) for _ in range(rng.choice((1, 2, 3, 4, 8, 16))))


def _with_strange_words(text: str, rng: random.Random) -> str:
    """Some words replaced by made-up ones, so that unknown words do not derail an answer."""
    share = rng.choice((0.1, 0.3, 0.5))
    words = text.split(" ")
    for i, word in enumerate(words):
        if word.isalpha() and rng.random() < share:
            words[i] = "".join(rng.choices(_LETTERS, k=rng.randrange(3, 10)))
    return " ".join(words)
