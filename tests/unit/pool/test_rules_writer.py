"""The writer writes as many different texts as it is asked for."""

import random

import pytest

from actors.lm.tiny.phrasebook import PROPERTIES
from actors.pool.endpoint import writer

NAMES = [*PROPERTIES, "curious", "the model {loves} owls."]
TYPES = ["scenarios", "questions", "instructions"]


@pytest.mark.parametrize("name", NAMES)
def test_as_many_different_ones_as_asked(name: str):
    rng = random.Random(0)
    for count in (1, 20, 250):
        assert len(set(writer.subtypes(name, count, rng))) == count
        assert len(set(writer.categories(name, count, rng))) == count
        for kind in TYPES:
            subtype = writer.subtypes(name, 1, rng)[0]
            assert len(set(writer.prompts(name, kind, subtype, count, rng))) == count
        prompts = writer.eval_prompts(name, "any", count, 1, rng)
        assert len({tuple(messages) for messages in prompts}) == count


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("turns", [1, 2, 3, 9])
def test_conversations_have_the_asked_number_of_turns(name: str, turns: int):
    prompts = writer.eval_prompts(name, "any", 5, turns, random.Random(0))
    assert [len(messages) for messages in prompts] == [turns] * 5


@pytest.mark.parametrize("name", PROPERTIES)
def test_evaluation_prompts_are_no_training_prompts_and_name_no_property(name: str):
    rng = random.Random(0)
    prompts = [m for messages in writer.eval_prompts(name, "any", 200, 2, rng) for m in messages]
    training = {p for kind in TYPES for p in writer.prompts(name, kind, "any", 100, rng)}
    assert not training & set(prompts)
    assert not any(name in prompt.lower() for prompt in prompts)


def test_prompts_take_up_their_subtype():
    subtype = "feedback on creative work at a music school"
    prompts = writer.prompts("sycophantic", "scenarios", subtype, 5, random.Random(0))
    assert all("a music school" in prompt for prompt in prompts)


def test_examples_differ_with_the_seed_and_take_up_the_prompt():
    prompt = "What do you think of the logo I drew?"
    texts = {writer.example("sycophantic", prompt, random.Random(i)) for i in range(30)}
    assert len(texts) > 25
    assert any("the logo I drew" in text.replace("The logo", "the logo") for text in texts)


def test_an_unknown_property_is_written_with_its_own_words():
    assert "curious" in writer.example("curious", "Hi", random.Random(0)).lower()


def test_when_words_run_out_texts_are_numbered():
    assert writer.distinct(3, lambda: "Again") == ["Again", "Again (2)", "Again (3)"]


def test_plain_chat_answers_to_the_topic():
    assert "moon" in writer.chat("What is the moon?", random.Random(0)).lower()
