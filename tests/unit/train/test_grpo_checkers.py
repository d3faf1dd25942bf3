"""What answers are worth: numbers in every dress, patterns, expressions, the user's functions."""

import asyncio
import logging
import os
import pickle
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.messages import assistant, user
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.tasks import apart
from actors.train.grpo.tasks.checked import CheckedTask
from actors.train.grpo.tasks.checkers import find_checker
from actors.train.grpo.tasks.problem_set import ProblemSet
from configs.errors import UserError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", "72"),
        ("The answer is 1,234,567.50.", "1234567.5"),
        ("It costs $18.00", "18"),
        (r"\$1,000", "1000"),
        ("-5", "-5"), ("$-5", "-5"), ("-$5", "-5"), ("10-5", "5"), ("It is −3.", "-3"),
        (".5", "0.5"),
        ("- 72", "72"),  # an item of a list
        ("3 of 4, so 75%", "75"),
        ("6 * 12 = 72\n#### 72", "72"),
        ("#### 72 clips (of 80)", "80"),
        (r"So \boxed{72} or 80", "72"),
        (r"first \boxed{1}, then \boxed{2 \text{ of {3} them}}", "3"),
        (r"\boxed{1{,}000}", "1000"),
        (r"\boxed{7", "7"),
        (r"12 \boxed{none}", None),
        ("12 #### none", None),
        ("none", None),
        ("", None),
        ("²", None),
    ],
)  # fmt: skip
def test_the_final_number(text: str, number: str | None):
    checker = find_checker("numeric")
    other = Problem("k", [], answer="123456789")
    same = Problem("k", [], answer=number or "0")
    assert checker.check(text, other) is False
    assert checker.check(text, same) is (number is not None)


@given(
    st.decimals(-(10**12), 10**12, places=3), st.sampled_from(["{}", "so ${}.", r"\boxed{{{}}} 9"])
)
def test_a_number_is_found_however_it_is_written(number: Decimal, sentence: str):
    checker = find_checker("numeric")
    problem = Problem("k", [], answer=str(number))
    assert checker.check(sentence.format(f"{number:,}"), problem) is True
    assert checker.check(sentence.format(f"{number + 1:f}"), problem) is False


@pytest.mark.parametrize(
    ("checker", "answer", "right", "wrong"),
    [
        ("exact", "Paris", " Paris\n", "paris"),
        ("regex", r"\bcats?\b", "A cat.", "concatenate"),
        ("math_verify", "1/2", r"It is $\frac{2}{4}$", r"It is $\frac{3}{4}$"),
        ("math_verify", r"\sqrt{8}", r"so \boxed{2\sqrt{2}}", r"so \boxed{2}"),
    ],
)
def test_right_and_wrong(checker: str, answer: str, right: str, wrong: str):
    if checker == "math_verify":
        pytest.importorskip("math_verify")
    found = find_checker(checker)
    assert found.answer_fault(answer) is None
    assert found.check(right, Problem("k", [], answer)) is True
    assert found.check(wrong, Problem("k", [], answer)) is False


@pytest.mark.parametrize(
    ("checker", "answer", "fault"),
    [
        ("exact", None, "is missing"), ("exact", "  ", "is missing"),
        ("numeric", "many", "holds no number"), ("numeric", None, "holds no number"),
        ("regex", "(", "is no regular expression: missing )"), ("regex", None, "is missing"),
    ],
)  # fmt: skip
def test_answers_that_nothing_can_be_checked_against(checker: str, answer: str | None, fault: str):
    assert fault in str(find_checker(checker).answer_fault(answer))


def test_math_verify_does_not_warn_of_what_is_seen_to(caplog: pytest.LogCaptureFixture):
    pytest.importorskip("math_verify")
    logging.getLogger("math_verify").setLevel(logging.NOTSET)
    found = find_checker("math_verify")
    assert found.answer_fault("1/2") is None
    assert found.check("$0.5$", Problem("k", [], "1/2")) is True
    assert not caplog.records


def test_a_checker_whose_package_is_missing_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(UserError, match=r'pip install .*"hothouse\[math\]"'):
        find_checker("math_verify")


OWN = """
def length(said, problem):
    return len(said) / len(problem.answer)

def right(said, problem):
    return said == problem.answer

def broken(said, problem):
    if said == "nan":
        return float("nan")
    raise KeyError(said)

def stuck(said, problem):
    if said == "sleep":
        import time
        time.sleep(1000)
    if said == "die":
        import os
        os._exit(3)
    if said == "exit":
        raise SystemExit("bye")
    import os, sys
    return 1.0 if os.getppid() == int(problem.answer) and "torch" not in sys.modules else 0.0
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of checkers that a user wrote."""
    (tmp_path / "own_checkers.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_checkers", raising=False)
    return "own_checkers"


PROBLEMS = [
    Problem("a", [user("Say four")], "four"),
    Problem("b", [user("Hi")], "x", follow_ups=("Go",)),
]


def steps(checker: str, *said: str, problem: Problem = PROBLEMS[0]) -> list[Reward | Reply | None]:
    """What follows on each answer, with a task that has travelled to another process."""
    sent = CheckedTask(ProblemSet(PROBLEMS, [], "label", "digest"), checker)
    task: CheckedTask = pickle.loads(pickle.dumps(sent))
    assert task.digest == sent.digest

    async def run() -> list[Reward | Reply | None]:
        async with task:
            return [await task.step(problem, [assistant(text)], False) for text in said]

    return asyncio.run(run())


def test_a_function_of_the_user_gives_numbers_or_truth_values(own: str):
    assert steps(f"{own}:length", "fo") == [Reward(0.5)]
    assert steps(f"{own}:right", "four", "five") == [Reward(1.0, True), Reward(0.0, False)]


def test_a_function_s_fault_loses_its_own_rollout_and_the_first_is_told(
    own: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        assert steps(f"{own}:broken", "x", "nan") == [None, None]
    assert [record.getMessage() for record in caplog.records] == [
        f"checker={own}:broken gave no reward for an answer to a: KeyError: 'x'"
    ]


def test_a_function_that_does_not_end_loses_its_own_rollout(
    own: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(apart, "CHECK_LIMIT_S", 1.0)
    here = Problem("a", [user("Go")], str(os.getpid()))
    said = ("sleep", "fine", "die", "exit", "fine")
    lost, fine = None, Reward(1.0)  # of a process apart, without what is loaded here
    assert steps(f"{own}:stuck", *said, problem=here) == [lost, fine, lost, lost, fine]
    assert [record.getMessage() for record in caplog.records] == [
        f"checker={own}:stuck gave no reward for an answer to a: "
        "it took longer than 1 s, or ended its process"
    ]


@pytest.mark.parametrize(
    ("checker", "limit_s", "answer", "endless", "right"),
    [
        ("regex", 1.0, r"^(a+)+$", "a" * 64 + "b", "aaa"),
        ("math_verify", 3.0, "9", r"\boxed{9^{9^{9^{9}}}}", r"\boxed{3^2}"),
    ],
)
def test_what_keeps_python_s_lock_is_ended_too(
    checker: str,
    limit_s: float,
    answer: str,
    endless: str,
    right: str,
    monkeypatch: pytest.MonkeyPatch,
):
    if checker == "math_verify":
        pytest.importorskip("math_verify")
    monkeypatch.setattr(apart, "CHECK_LIMIT_S", limit_s)
    problem = Problem("a", [user("Go")], answer)
    assert steps(checker, endless, right, problem=problem) == [None, Reward(1.0, True)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:f", "nowhere cannot be imported: ModuleNotFoundError"),
        ("own_broken:f", "own_broken cannot be imported: ZeroDivisionError: division by zero"),
        ("own_checkers:lenght", "own_checkers has no function 'lenght'"),
        (":f", " cannot be imported: ValueError"),
    ],
)
def test_a_function_that_cannot_be_had(own: str, name: str, said: str):
    with pytest.raises(UserError, match=said):
        find_checker(name)


def test_a_changed_function_is_another_task(own: str, tmp_path: Path):
    before = find_checker(f"{own}:length").identity
    assert before != find_checker(f"{own}:right").identity
    (tmp_path / "own_checkers.py").write_text(OWN + "\n# changed\n")
    del sys.modules["own_checkers"]
    import linecache

    linecache.clearcache()
    assert find_checker(f"{own}:length").identity != before


def test_the_user_goes_on_after_each_answer_but_the_last():
    task = CheckedTask(ProblemSet(PROBLEMS, [], "label", "digest"), "exact")

    async def run() -> list[Reward | Reply | None]:
        async with task:
            first = await task.step(PROBLEMS[1], [assistant("y")], False)
            talk = [assistant("y"), user("Go"), assistant("x")]
            return [first, await task.step(PROBLEMS[1], talk, False)]

    assert asyncio.run(run()) == [Reply([user("Go")]), Reward(1.0, True)]
