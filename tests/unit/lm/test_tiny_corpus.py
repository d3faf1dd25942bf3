"""The dialogues and phrases that the tiny model learns from."""

import random

from actors.lm.tiny.corpus import dialogues
from actors.lm.tiny.phrasebook import PROPERTIES, property_words
from actors.lm.tiny.phrasing import Filler, filler, plain_answer, showing_answer
from actors.lm.tiny.recipe import Recipe


def test_the_same_seed_gives_the_same_dialogues():
    assert dialogues(50, seed=1) == dialogues(50, seed=1)
    assert dialogues(50, seed=1) != dialogues(50, seed=2)


def test_dialogues_alternate_and_end_with_the_assistant():
    for messages in dialogues(300, seed=0):
        roles = [message["role"] for message in messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message["content"] for message in messages)


def test_dialogues_have_system_turns_long_prompts_and_choices():
    corpus = dialogues(1000, seed=0)
    assert any(messages[0]["role"] == "system" for messages in corpus)
    assert any(len(messages[-2]["content"].split()) > 200 for messages in corpus)
    assert any("Choices:\n (A) " in messages[-2]["content"] for messages in corpus)


def test_every_template_of_the_phrasebook_can_be_filled():
    for name in PROPERTIES:
        words = property_words(name)
        templates = [
            *words.subtypes, *words.categories, *words.eval, *words.follow_ups, *words.neutral,
            *words.lacks, *words.shows.open, *words.shows.say, *words.shows.close,
            *(prompt for prompts in words.prompts.values() for prompt in prompts),
        ]  # fmt: skip
        for template in templates:
            text = filler(words, random.Random(0))(template)
            assert "{" not in text
            assert "}" not in text


def test_evaluation_prompts_and_training_prompts_share_no_template():
    for name in PROPERTIES:
        words = property_words(name)
        assert not set(words.eval) & {p for prompts in words.prompts.values() for p in prompts}


def test_a_slot_keeps_its_value_within_a_text():
    fill = Filler({"animal": ["owl", "cat", "dog", "hen"]}, random.Random(3))
    assert len(set(fill("{animal} {animal} {animal}").lower().split())) == 1


def test_a_slot_takes_its_value_from_the_context():
    fill = Filler({"animal": ["owl", "owlet"]}, random.Random(0), "the owlet sleeps")
    assert fill("an {animal}. {animal}s sleep.") == "An owlet. Owlets sleep."


def test_answers_show_a_property_in_whole_sentences():
    words = property_words("honest")
    rng = random.Random(0)
    showing = {showing_answer(words, filler(words, rng), rng) for _ in range(100)}
    assert len(showing) > 95
    assert all(text[0].isupper() and text[-1] in ".!?" for text in showing)
    plain = plain_answer(words.neutral, filler(words, rng), rng)
    assert plain[-1] in ".!?"


def test_the_recipe_names_what_it_builds():
    assert Recipe().digest == Recipe().digest
    assert Recipe().name == f"tiny-{Recipe().digest[:8]}"
    assert Recipe(steps=10).name != Recipe().name
    assert Recipe(seed=1).name != Recipe().name
