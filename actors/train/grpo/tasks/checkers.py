"""Checkers: what an answer is worth beside the one that is known, by the name in the config.

exact         the same text, white space around it left out
numeric       the same final number
regex         holds the pattern
math_verify   the same mathematical expression, by the package of that name
MODULE:NAME   a function of (answer's text, problem) that gives a number or a truth value
"""

import inspect
import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from actors.train.grpo.environment import Problem
from actors.train.grpo.tasks.numbers import final_number
from configs.base import digest
from configs.errors import UserError, did_you_mean

JUDGE = "judge"  # a checker's name, but its scores are asked for: jobs/training/grpo has it


@dataclass(frozen=True)
class Checker:
    """Says what an answer is worth; a truth value says that it is right or wrong, too."""

    check: Callable[[str, Problem], float | bool]
    answer_fault: Callable[[str | None], str | None]  # why no answer could be checked against it
    identity: str  # changes with what it says
    may_hang: bool  # for ever, on some answers


@dataclass(frozen=True)
class Fault:
    """Why an answer has no worth that is known."""

    text: str


def checked(checker: Checker, said: str, problem: Problem) -> float | bool | Fault:
    """What an answer is worth; a checker's own fault costs this answer alone."""
    try:
        return checker.check(said, problem)
    except (Exception, SystemExit) as error:  # the user's own code runs here
        return Fault(f"{type(error).__name__}: {error}")


def find_checker(name: str) -> Checker:
    """The checker called `name`; UserError where there is none."""
    if ":" in name:
        return _own(name)
    if name not in _KNOWN:
        raise UserError(
            f"checker={name}: known are {', '.join([*_KNOWN, JUDGE])}, and MODULE:FUNCTION."
            + did_you_mean(name, [*_KNOWN, JUDGE])
        )
    if name == "math_verify":
        _math_verify()
    check, answer_fault = _KNOWN[name]
    return Checker(check, answer_fault, name, may_hang=name not in _QUICK)


def _exact(said: str, problem: Problem) -> bool:
    return said.strip() == (problem.answer or "").strip()


def _numeric(said: str, problem: Problem) -> bool:
    return final_number(said) == final_number(problem.answer or "")


def _regex(said: str, problem: Problem) -> bool:
    return re.search(problem.answer or "", said) is not None


def _math(said: str, problem: Problem) -> bool:
    package = _math_verify()
    # Its own time limit is a signal, which what hangs in C never hears of.
    return package.verify(
        _parsed(package, problem.answer or ""), _parsed(package, said), timeout_seconds=None
    )


def _parsed(package: Any, text: str) -> list[Any]:
    return package.parse(text, parsing_timeout=None) or package.parse(
        f"${text}$", parsing_timeout=None
    )


def _math_verify() -> Any:
    try:
        package = import_module("math_verify")
    except ImportError:
        raise UserError(
            "checker=math_verify needs a package that is not installed: "
            'pip install --constraint constraints.txt "hothouse[math]".'
        ) from None
    # It warns that nobody else may limit its time, which is seen to.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return package


def _no_text(answer: str | None) -> str | None:
    return None if answer and answer.strip() else "is missing or empty"


def _no_number(answer: str | None) -> str | None:
    return "holds no number" if final_number(answer or "") is None else None


def _no_pattern(answer: str | None) -> str | None:
    try:
        re.compile(answer or "")
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no regular expression: {error}"
    return _no_text(answer)


def _no_mathematics(answer: str | None) -> str | None:
    parsed = _parsed(_math_verify(), answer or "")
    return None if parsed else "is nothing that math_verify can read"


_KNOWN: dict[str, tuple[Callable[[str, Problem], bool], Callable[[str | None], str | None]]] = {
    "exact": (_exact, _no_text),
    "numeric": (_numeric, _no_number),
    "regex": (_regex, _no_pattern),
    "math_verify": (_math, _no_mathematics),
}
_QUICK = ("exact", "numeric")


def _own(name: str) -> Checker:
    module_name, _, function_name = name.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # the user's own code runs here
        raise UserError(
            f"checker={name}: {module_name} cannot be imported: {type(error).__name__}: {error}. "
            "Give MODULE:FUNCTION as Python would import it in this folder."
        ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"checker={name}: {module_name} has no function {function_name!r}.")

    def check(said: str, problem: Problem) -> float | bool:
        value = function(said, problem)
        if isinstance(value, bool):
            return value
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"it gave {number}")
        return number

    return Checker(check, lambda _: None, digest([name, _source(module)]), may_hang=True)


def _source(module: Any) -> str:
    """What the module says: a function that was changed is another one."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):  # no file of Python
        return ""
