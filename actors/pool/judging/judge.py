"""Ask a judge for numbers from 0 to 100: questions in, scores out in the order they finish.

A question is asked once at temperature 0 with the logprobs of the first tokens. Where the provider
gives none, will not take the request, or writes numbers in several tokens, the same question is
put to the vote: `num_votes` samples at temperature 1. Which of the two scored it is part of the
result. Once a model's endpoint has refused logprobs, later questions to it go to the vote at once.

A study replays from its stored calls in any order: a first call that was refused, or never made
because another was, is not among them, and says the same as the refusal did. Only a refusal that
came over the wire is remembered, so no answer that is stored is passed over in a replay.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from actors.pool.judging.feed import Feed
from actors.pool.judging.numbers import whole_numbers
from actors.pool.judging.scored import Scored, by_logprobs, by_votes
from actors.pool.requests import ChatRequest, Completion, Failure, Outcome

NUM_VOTES = 5
_ALTERNATIVES = 20  # the most that providers give
_MAX_TOKENS = 16  # more than a number needs: a number of several tokens is to be seen whole


class Pool(Protocol):
    """What a judge needs of a `ChatPool`."""

    def complete(self, requests: AsyncIterable[ChatRequest]) -> AsyncIterator[Outcome]:
        """Outcomes of `requests`, in the order they finish."""
        ...


@dataclass(slots=True)
class _Question:
    """A question that was begun."""

    asked: ChatRequest
    first: Completion | None = None
    votes: list[Completion] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class NumberJudge:
    """Scores by numbers, on a pool."""

    def __init__(self, pool: Pool, num_votes: int = NUM_VOTES) -> None:
        self._pool, self._num_votes = pool, num_votes
        self._refusing: set[str | None] = set()  # models whose endpoint takes no logprobs

    async def score(
        self, questions: AsyncIterable[ChatRequest]
    ) -> AsyncGenerator[Scored | Failure, None]:
        """One result a question, under its key; keys differ from each other.

        Of a question, its key, messages, model and seed count. A Failure is the first of its calls
        that got no answer, with the attempts and dollars of all.
        """
        open_questions: dict[str, _Question] = {}

        def begin(question: ChatRequest) -> ChatRequest:
            open_questions[question.key] = _Question(question)
            if question.model not in self._refusing:
                return first_request(question)
            vote, *others = _votes(question, self._num_votes)
            feed.further(others)
            return vote

        feed = Feed(questions, begin)
        async for outcome in self._pool.complete(feed.requests()):
            key, _, vote = outcome.key.rpartition("/")
            question = open_questions[key]
            result = self._vote(question, outcome) if vote else self._first(question, outcome, feed)
            if result is not None:
                del open_questions[key]
                feed.close_one()
                yield result

    def _first(self, question: _Question, outcome: Outcome, feed: Feed) -> Scored | Failure | None:
        """What the first answer comes to; None where the question goes to the vote."""
        key = question.asked.key
        if isinstance(outcome, Failure):
            if not outcome.expected:
                return replace(outcome, key=key)
            if not outcome.cached:
                self._refusing.add(question.asked.model)
        elif outcome.refusal:
            return by_logprobs(key, outcome, None)
        else:
            question.first = outcome
            if outcome.logprobs and whole_numbers(outcome.text, outcome.logprobs[0]):
                return by_logprobs(key, outcome, outcome.logprobs[0])
        feed.further(_votes(question.asked, self._num_votes))
        return None

    def _vote(self, question: _Question, outcome: Outcome) -> Scored | Failure | None:
        """The result once all votes are in."""
        if isinstance(outcome, Failure):
            question.failures.append(outcome)
        else:
            question.votes.append(outcome)
        if len(question.votes) + len(question.failures) < self._num_votes:
            return None
        if question.failures:
            return _failure(question)
        return by_votes(question.asked.key, question.first, question.votes)


def first_request(question: ChatRequest) -> ChatRequest:
    """The call that a question is first put by."""
    return replace(
        question,
        key=f"{question.key}/",
        temperature=0.0,
        max_tokens=_MAX_TOKENS,
        top_logprobs=_ALTERNATIVES,
        may_refuse="logprobs",
    )


def _votes(question: ChatRequest, count: int) -> Sequence[ChatRequest]:
    sampled = replace(question, temperature=1.0, max_tokens=_MAX_TOKENS)
    return [replace(sampled, key=f"{question.key}/{i}", sample=i) for i in range(count)]


def _failure(question: _Question) -> Failure:
    answered = [*question.votes, question.first] if question.first else question.votes
    calls = [*question.failures, *answered]
    return replace(
        question.failures[0],
        key=question.asked.key,
        attempts=sum(call.attempts for call in calls),
        cost_usd=sum(call.cost_usd for call in calls),
    )
