"""What came of asking a judge for a number: every way it can end has a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actors.pool.judging.numbers import mean_vote, number_mass, parse_number, weighted_score
from actors.pool.requests import Completion, TokenLogprob

ScoreMode = Literal["logprobs", "votes"]
ScoreOutcome = Literal[
    "scored",
    "refused",  # a refusal or a content filter
    "unparsed",  # no number from 0 to 100
    "low_mass",  # numbers held less than a quarter of the first token's probability
]


@dataclass(frozen=True, slots=True)
class Scored:
    """A judge's answer to one question; dollars and attempts are those of all its calls."""

    key: str
    outcome: ScoreOutcome
    score: float | None  # 0..100 where the outcome is scored
    mode: ScoreMode
    said: tuple[str, ...]  # what the judge wrote, vote by vote
    mass: float | None  # probability of the numbers; None in a refusal and by votes
    cost_usd: float
    attempts: int
    model: str  # as the endpoint names it


def by_logprobs(
    key: str, answer: Completion, alternatives: Sequence[TokenLogprob] | None
) -> Scored:
    """The score by the alternatives at the first token; None of them is a refusal's."""
    bill = answer.cost_usd, answer.attempts, answer.model
    if alternatives is None:
        return Scored(key, "refused", None, "logprobs", (answer.text,), None, *bill)
    score = weighted_score(alternatives)
    outcome: ScoreOutcome = "low_mass" if score is None else "scored"
    mass = number_mass(alternatives)
    return Scored(key, outcome, score, "logprobs", (answer.text,), mass, *bill)


def by_votes(key: str, first: Completion | None, votes: Sequence[Completion]) -> Scored:
    """The mean of the votes that are numbers, where these are more than half of all.

    Otherwise the outcome is what most of the others are. `first` is the answer that came without
    logprobs: it was paid for, and is no vote, for it was not sampled.
    """
    numbers = [None if vote.refusal else parse_number(vote.text) for vote in votes]
    score = mean_vote(numbers)
    refused = sum(vote.refusal for vote in votes)
    unparsed = numbers.count(None) - refused
    outcome: ScoreOutcome = "refused" if refused >= unparsed else "unparsed"
    calls = [*votes, first] if first else votes
    return Scored(
        key,
        outcome if score is None else "scored",
        score,
        "votes",
        tuple(vote.text for vote in votes),
        None,
        sum(call.cost_usd for call in calls),
        sum(call.attempts for call in calls),
        votes[0].model,
    )
