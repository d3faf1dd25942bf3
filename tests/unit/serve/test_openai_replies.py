"""Replies carry what OpenAI's clients read."""

from actors.lm.requests import Sample
from serve.calls import Answer, Completion
from serve.openai_replies import completion_reply


def test_text_offsets_are_the_places_of_the_tokens() -> None:
    sample = Sample([1, 2, 3], [-0.5, -0.25, -1.0], "Hello x", "length", "digest")
    answer = Answer("base", "print", 4, [Completion(sample, ["He", "llo", " x"])])
    [choice] = completion_reply(answer, logprobs=True)["choices"]
    assert choice["logprobs"]["tokens"] == ["He", "llo", " x"]
    assert choice["logprobs"]["text_offset"] == [0, 2, 5]
    assert choice["logprobs"]["token_logprobs"] == [-0.5, -0.25, -1.0]
