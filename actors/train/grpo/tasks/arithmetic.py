"""Sums of two numbers of two digits: problems that need no file and fit the smallest model."""

import random
from collections.abc import Iterable
from itertools import combinations_with_replacement

from actors.lm.messages import user
from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.problem_set import Placed, Sides

_NUMBERS = range(10, 100)
_HELD_OUT_SHARE = 0.1


def arithmetic() -> Sides:
    """All sums, a tenth of them held out; always the same ones, in the same order.

    Two numbers are on one side in both orders: who learned 85 + 47 has seen 47 + 85.
    """
    pairs = list(combinations_with_replacement(_NUMBERS, 2))
    random.Random("sums").shuffle(pairs)
    held_out = round(len(pairs) * _HELD_OUT_SHARE)
    return Sides(_both_orders(pairs[held_out:]), _both_orders(pairs[:held_out]))


def _both_orders(pairs: Iterable[tuple[int, int]]) -> list[Placed]:
    ordered = dict.fromkeys(order for a, b in pairs for order in ((a, b), (b, a)))
    return [Placed(f"{a} + {b}", _problem(a, b)) for a, b in ordered]


def _problem(a: int, b: int) -> Problem:
    asked, worked = f"What is {a} + {b}?", f"{a + b}"
    return Problem(f"{a}+{b}", [user(asked)], answer=str(a + b), worked=worked)
