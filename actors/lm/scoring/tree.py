"""A question as one row of tokens: its context, then its continuations as a tree behind it.

Continuations share what they begin with. A token sees the tokens on its own path alone, at the
positions they would have if its continuation were computed by itself, so nothing changes but the
number of tokens. The last token of a continuation is predicted, never computed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.lm.requests import Question


@dataclass(frozen=True, slots=True)
class Tree:
    """Some continuations of one question in a row of N tokens, parents before their children."""

    question: int
    context_tokens: int
    token_ids: list[int]  # [N]
    parents: list[int]  # [N] place of the token before it; -1 for the first
    positions: list[int]  # [N] tokens before it on its path
    paths: dict[int, list[int]]  # continuation -> places that predict its tokens, in their order

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def is_chain(self) -> bool:
        """Whether every token sees all that stand before it."""
        return self.positions[-1] == len(self) - 1

    @property
    def reads(self) -> list[int]:
        """The places that predict something, ascending."""
        return sorted({place for path in self.paths.values() for place in path})


def trees_of(number: int, question: Question, *, max_tokens: int, reach: int) -> Iterator[Tree]:
    """The trees of the question of that number: one, where all its continuations fit.

    A tree holds at most `max_tokens` or a single continuation. A path of more than `reach` tokens
    shares its tree with no other: the model would not take such a tree.
    """
    context_tokens = len(question.context_ids)
    together: list[int] = []
    tokens = context_tokens
    for i, continuation in enumerate(question.continuations):
        more = len(continuation) - 1
        if context_tokens + more > reach:
            yield _tree(number, question, [i])
            continue
        if together and tokens + more > max_tokens:
            yield _tree(number, question, together)
            together, tokens = [], context_tokens
        together.append(i)
        tokens += more
    if together:
        yield _tree(number, question, together)


def _tree(number: int, question: Question, continuations: Sequence[int]) -> Tree:
    token_ids = list(question.context_ids)
    length = len(token_ids)
    parents, positions = list(range(-1, length - 1)), list(range(length))
    children: dict[tuple[int, int], int] = {}  # (place, token) -> place of the token behind it
    paths = {}
    for i in continuations:
        place = length - 1
        path = [place]
        for token in question.continuations[i][:-1]:
            if (place, token) not in children:
                children[place, token] = len(token_ids)
                token_ids.append(token)
                parents.append(place)
                positions.append(positions[place] + 1)
            place = children[place, token]
            path.append(place)
        paths[i] = path
    return Tree(number, length, token_ids, parents, positions, paths)
