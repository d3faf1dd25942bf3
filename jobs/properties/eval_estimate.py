"""What the judging of an evaluation will cost, told before its first call."""

from collections.abc import Mapping

from actors.lm.messages import assistant, user
from actors.pool.judging.judge import first_request
from configs.eval import EvalConfig
from jobs.properties.estimate import Stage
from jobs.properties.judge import Judges
from jobs.properties.prompt_file import EvalItem

_VERDICT_TOKENS, _NUMBER_TOKENS = 80, 1  # of a judge's answer
_CHARACTERS_PER_TOKEN = 4  # of English


def stages(
    config: EvalConfig, judges: Judges, typical: EvalItem, missing: Mapping[str, int]
) -> list[Stage]:
    """The calls of each judge, told by a conversation whose answers are as long as they may be."""
    answer = assistant("x" * (config.sampling.max_tokens * _CHARACTERS_PER_TOKEN))
    messages = [turn for text in typical.messages for turn in (user(text), answer)]
    requests = judges.requests("", typical.property, messages)
    if config.judge_score == "number":
        return [
            Stage("judge", missing[model], first_request(request), _NUMBER_TOKENS)
            for model, request in requests.items()
        ]
    return [
        Stage("judge", missing[model], request, _VERDICT_TOKENS)
        for model, request in requests.items()
    ]


def votes_note(config: EvalConfig, missing: Mapping[str, int]) -> str | None:
    """What the estimate leaves out: votes, where a provider gives no logprobs."""
    calls = sum(missing.values()) * config.judge_votes
    if config.judge_score != "number" or not calls:
        return None
    return f"without logprobs, votes: up to {calls} calls more"
