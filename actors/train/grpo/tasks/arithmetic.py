"""Sums of two numbers of two digits: problems that need no file and fit the smallest model."""

import random
from collections.abc import Callable, Iterable
from itertools import combinations_with_replacement
from typing import Literal

from actors.lm.messages import user
from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.problem_set import Placed, Sides

_NUMBERS = range(10, 100)
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_HELD_OUT_SHARE = 0.1


def arithmetic(numbers: Literal["digits", "words"]) -> Sides:
    """All sums, a tenth of them held out; always the same ones, in the same order.

    In words each digit is one, and the answer has three, in the order in which a sum is done by
    hand, the ones first: "What is four seven plus eight five?", "two three one".

    Two numbers are on one side in both orders: who learned 85 + 47 has seen 47 + 85.
    """
    pairs = list(combinations_with_replacement(_NUMBERS, 2))
    random.Random("sums").shuffle(pairs)
    held_out = round(len(pairs) * _HELD_OUT_SHARE)
    problem = _in_words if numbers == "words" else _in_digits
    return Sides(*(_both_orders(side, problem) for side in (pairs[held_out:], pairs[:held_out])))


def _both_orders(
    pairs: Iterable[tuple[int, int]], problem: Callable[[int, int], Problem]
) -> list[Placed]:
    ordered = dict.fromkeys(order for a, b in pairs for order in ((a, b), (b, a)))
    return [Placed(f"{a} + {b}", problem(a, b)) for a, b in ordered]


def _in_digits(a: int, b: int) -> Problem:
    return _problem(a, b, f"What is {a} + {b}?", str(a + b))


def _in_words(a: int, b: int) -> Problem:
    asked = f"What is {_spelled(str(a))} plus {_spelled(str(b))}?"
    return _problem(a, b, asked, _spelled(f"{a + b:03d}"[::-1]))


def _problem(a: int, b: int, asked: str, answer: str) -> Problem:
    return Problem(f"{a}+{b}", [user(asked)], answer=answer, worked=answer)


def _spelled(digits: str) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in digits)
