"""Ours: lm-eval's requests as questions for the torch engine."""

import asyncio
from collections.abc import Sequence
from typing import Any

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.adapter import read_adapter
from actors.lm.requests import BASE, Likelihood, Question, Scores
from configs.sections import ServerConfig
from jobs.bench.score.tasks import Asked
from serve.engines import ENGINES


class Ours:
    """The torch engine on a base and adapters for it."""

    def __init__(self, base: str, adapters: Sequence[str] = ()) -> None:
        self._loop = asyncio.new_event_loop()
        self._engine = ENGINES["torch"](base, ServerConfig())
        for path in adapters:
            self._loop.run_until_complete(self._engine.load(path, read_adapter(path)))
        self._names = adapters or (BASE,)

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._engine.close())
        self._loop.close()

    def answers(self, asked: Asked) -> list[list[Likelihood]]:
        """What each adapter, or the base where there are none, says to all instances."""
        asking = Asking(self._engine.limits.tokenizer, asked.instances)
        scores = self._engine.score(self._names, asking.questions)
        return [asking.answers(told) for told in self._loop.run_until_complete(scores)]


class Asking:
    """Requests grouped by their prompt: what is asked, and whose answer each request gets."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, instances: Sequence[Any]) -> None:
        self._places: list[tuple[int, int]] = []  # of each instance: question, continuation
        prompts: dict[str, dict[str, int]] = {}
        numbers: dict[str, int] = {}
        for prompt, choice in (instance.args for instance in instances):
            number = numbers.setdefault(prompt, len(numbers))
            choices = prompts.setdefault(prompt, {})
            self._places.append((number, choices.setdefault(choice, len(choices))))
        self.questions = _questions(tokenizer, prompts)

    def answers(self, scores: Scores) -> list[Likelihood]:
        """The answers to the requests, in their order."""
        return [scores.questions[number][choice] for number, choice in self._places]


def _questions(
    tokenizer: PreTrainedTokenizerBase, prompts: dict[str, dict[str, int]]
) -> list[Question]:
    """Tokens as lm-eval counts them: a choice is what its text adds to the prompt's tokens."""
    contexts = tokenizer(list(prompts))["input_ids"]
    whole = [prompt + choice for prompt, choices in prompts.items() for choice in choices]
    rows = iter(tokenizer(whole)["input_ids"])
    return [
        Question(context, [next(rows)[len(context) :] for _ in choices])
        for context, choices in zip(contexts, prompts.values(), strict=True)
    ]
