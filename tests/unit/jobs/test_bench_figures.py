"""The bench's arithmetic: reaches, rows, the table, the questions of a load, CPU seconds."""

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from doors import job

from jobs.bench.bench import print_rows
from jobs.bench.figures import Figure, Group, Reach, Trial, selected, summary
from jobs.bench.machine import machine, tree_cpu_s
from jobs.bench.pool.groups import GROUPS
from jobs.bench.pool.load import (
    FEW,
    Load,
    Work,
    num_distinct,
    question,
    question_numbers,
    warm_question,
)

FIGURES = [figure for group in GROUPS for figure in group.figures]


def load(work: Work) -> Load:
    return Load(work=work, url="u", tag="t", storage=".")


@pytest.mark.parametrize(
    ("sign", "below", "at", "above"),
    [
        (">=", False, True, True),
        ("<=", True, True, False),
        ("<", True, False, False),
        ("=", False, True, False),
    ],
)
def test_a_reach_holds_on_its_side(sign, below, at, above):
    reach = Reach(sign, 2.0)
    assert [reach.holds(v) for v in (1.9, 2.0, 2.1)] == [below, at, above]
    assert str(reach) == f"{sign} 2"


def test_a_row_is_the_median_with_its_spread():
    row = summary(Figure("cpu", "ratio", Reach(">=", 2.0)), [2.5, 1.5, 2.1])
    assert row.plain() == {
        "figure": "cpu", "value": 2.1, "low": 1.5, "high": 2.5, "reach": ">= 2", "holds": True,
    }  # fmt: skip
    reported = summary(Figure("two", "ratio"), [1.0]).plain()
    assert (reported["reach"], reported["holds"]) == (None, None)


def test_only_keeps_the_named_figures_and_drops_empty_groups():
    def measure(place: object) -> Trial:
        raise AssertionError("nothing is measured here")

    a, b, c = (Figure(name, name) for name in "abc")
    groups = [Group((a, b), measure), Group((c,), measure)]
    assert [g.figures for g in selected(groups, [])] == [(a, b), (c,)]
    assert [g.figures for g in selected(groups, ["b"])] == [(b,)]


def test_figures_have_names_of_their_own():
    assert max(Counter(figure.name for figure in FIGURES).values()) == 1


def test_the_table_stays_within_the_width(capsys):
    print_rows([summary(f, [0.9, 1.05, 123.456]) for f in FIGURES], f"bench pool · {machine()}")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.rstrip().endswith(("yes", "no", "-")) for line in lines) == len(FIGURES)


REPEATS = Work(calls=1000, questions="repeats", in_flight=4, warm_calls=1)


def test_repeats_ask_the_stated_share_twice():
    numbers = list(question_numbers(REPEATS))
    assert len(numbers) == 1000
    assert len(set(numbers)) == num_distinct(1000) == 700
    assert numbers == list(question_numbers(REPEATS))
    assert numbers[:700] != sorted(numbers[:700])


def test_few_questions_are_all_asked_while_it_warms_up():
    few = load(Work(calls=3 * FEW, questions="few", in_flight=4, warm_calls=FEW))
    warmed = {warm_question(few, i) for i in range(FEW)}
    assert {question(few, n) for n in question_numbers(few.work)} == warmed


def test_distinct_questions_are_new_to_a_warm_client():
    distinct = load(Work(calls=50, in_flight=4, warm_calls=50))
    asked = [question(distinct, n) for n in question_numbers(distinct.work)]
    assert len({*asked, *(warm_question(distinct, i) for i in range(50))}) == 100


_PARENT = """
import subprocess, sys
burn = [sys.executable, "-c", "sum(range(10**7)); print(flush=True); input()"]
for _ in range(2):
    child = subprocess.Popen(burn, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
    input()
    child.communicate(b"\\n")
    print(flush=True)
    input()
"""


def test_cpu_seconds_of_a_tree_count_children_alive_and_ended_but_not_those_left_out():
    # A tree of its own: below the test process the suite's clusters come and go.
    command = [sys.executable, "-c", _PARENT]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, bufsize=1, **pipes) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        first = int(parent.stdout.readline())
        alive_s, alone_s = tree_cpu_s(parent.pid), tree_cpu_s(parent.pid, without=[first])
        assert alive_s > alone_s > 0
        assert tree_cpu_s(first, without=[first]) == 0
        parent.stdin.write("\n")
        parent.stdout.readline()
        ended_s = tree_cpu_s(parent.pid)
        assert ended_s >= alive_s
        parent.stdin.write("\n")
        second = int(parent.stdout.readline())
        assert tree_cpu_s(parent.pid) > ended_s
        assert tree_cpu_s(parent.pid, without=[second]) < tree_cpu_s(parent.pid)
        parent.stdin.write("\n\n")


def test_the_first_word_names_the_bench(tmp_path):
    ran = job(tmp_path, "bench", "poll")
    assert ran.code == 2
    assert 'Did you mean "pool"?' in ran.printed
    ran = job(tmp_path, "bench", "name=pool", "only=[cpus]")
    assert ran.code == 2
    assert 'Did you mean "cpu"?' in ran.printed
    ran = job(tmp_path, "bench", "pool", f"out={tmp_path}/absent/x.json")
    assert ran.code == 2
    assert "make it first" in ran.printed


def test_without_a_name_the_benches_are_listed(tmp_path):
    ran = job(tmp_path, "bench")
    assert ran.code == 0
    assert "pool" in ran.printed
    assert FIGURES[0].name in ran.printed
