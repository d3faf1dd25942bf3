"""The ledger's arithmetic: budgets hold in any order of events, and no dollar is lost."""

from hypothesis import given
from hypothesis import strategies as st

from actors.pool.books.ledger import (
    Budgets,
    Hold,
    Ledger,
    Totals,
    in_usd,
    nano_down,
    nano_up,
)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_costs_round_up_and_budgets_down_but_decimals_are_exact(micro: int, calls: int):
    assert nano_up(micro / 1e6) == nano_down(micro / 1e6) == micro * 1000
    assert in_usd(nano_up(micro / 1e6) * calls) == micro * calls / 1e6


def test_less_than_a_nano_dollar_is_not_free():
    assert (nano_up(1e-10), nano_down(1e-10)) == (1, 0)


def test_a_call_waits_for_what_may_come_back_and_is_refused_what_cannot():
    ledger = Ledger({})
    ledger.reserve("run", Hold(), 60)
    budgets = Budgets(run=100)
    assert ledger.short("run", 40, budgets) is None
    short = ledger.short("run", 41, budgets)
    assert short is not None
    assert not short.for_good
    short = ledger.short("run", 101, budgets)
    assert short is not None
    assert short.for_good


def test_the_study_counts_all_runs():
    ledger = Ledger({"other": Totals(spent=90)})
    assert ledger.short("run", 11, Budgets(run=1000)) is None
    short = ledger.short("run", 11, Budgets(run=1000, study=100))
    assert short is not None
    assert (short.budget, short.for_good) == ("study_budget_usd", True)


def test_what_will_never_fit_outweighs_what_may():
    ledger = Ledger({"other": Totals(spent=90)})
    ledger.reserve("run", Hold(), 5)
    short = ledger.short("run", 10, Budgets(run=12, study=99))
    assert short is not None
    assert (short.budget, short.for_good) == ("study_budget_usd", True)


def test_an_attempt_that_was_billed_makes_way_for_its_known_cost():
    ledger = Ledger({})
    hold = ledger.reserve("run", Hold(), 50)
    hold = ledger.sink("run", hold, None)
    assert ledger.runs["run"] == Totals(presumed=50)
    hold = ledger.sink("run", hold, 7)
    assert ledger.runs["run"] == Totals(presumed=7)
    hold = ledger.reserve("run", hold, 50)
    ledger.settle("run", hold, cost=12, presumed=3)
    assert ledger.runs["run"] == ledger.study == ledger.moved["run"] == Totals(12, 3, 0)
