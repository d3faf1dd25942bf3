"""What keeps problems of a set from being used: twice the same, on both sides, or too long."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.chat import conversation_text, prompt_ids
from actors.lm.messages import Conversation
from actors.train.data.problems import Problems
from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.problem_set import Placed, Sides
from configs.grpo import GrpoConfig


def overlaps(sides: Sides) -> Iterator[str]:
    """A line for each problem that is there twice.

    Texts are compared as they are but for case, form (NFKC) and white space: "4 + 7" and "4 - 7"
    differ in a sign alone, so words would not do.
    """
    first: dict[tuple[str, ...], str] = {}
    for where, problem in [*sides.training, *sides.held_out]:
        before = first.setdefault(_asked(problem), where)
        if before != where:
            yield f"{where}: asks the same as {before}; remove one of them."


def _asked(problem: Problem) -> tuple[str, ...]:
    texts = [*(turn["content"] for turn in problem.messages), *problem.follow_ups]
    return tuple(" ".join(unicodedata.normalize("NFKC", t).casefold().split()) for t in texts)


def with_system_prompt(
    side: Sequence[Placed], system_prompt: str | None, faults: Problems
) -> list[Placed]:
    """The problems behind the config's system prompt."""
    if system_prompt is None:
        return list(side)
    placed = []
    for where, problem in side:
        if problem.messages[0]["role"] == "system":
            faults.add(f"{where}: has a system message; leave system_prompt out.")
        messages: Conversation = [
            {"role": "system", "content": system_prompt},
            *problem.messages,
        ]
        placed.append(Placed(where, replace(problem, messages=messages)))
    return placed


def too_long(
    problem: Problem, tokenizer: PreTrainedTokenizerBase, config: GrpoConfig, context_tokens: int
) -> str | None:
    """Why a problem and an answer do not fit into a row or the base, None where they do."""
    if len(problem.follow_ups) >= config.max_turns:
        turns = len(problem.follow_ups) + 1
        return f"is a conversation of {turns} answers; give max_turns={turns}"
    try:
        text = conversation_text(tokenizer, problem.messages, generation_prompt=True)
    except ValueError as error:
        return str(error)
    left = context_tokens - config.max_tokens
    room = min(config.max_prompt_tokens, left)
    if len(text.encode()) <= room:  # a token is a byte at least
        return None
    count = len(prompt_ids(tokenizer, problem.messages))
    if count <= room:
        return None
    if room < left:
        return f"{count} tokens, more than max_prompt_tokens={room}; shorten it, or give more"
    return (
        f"{count} tokens, and the base's context of {context_tokens} leaves {room} beside "
        f"max_tokens={config.max_tokens}; shorten it, or give a smaller max_tokens"
    )
