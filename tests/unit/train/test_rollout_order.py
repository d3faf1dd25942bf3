"""Which problem stands where, and the seeds."""

from fake_sampler import problem
from hypothesis import given
from hypothesis import strategies as st

from actors.train.grpo.order import problem_at, seed_of

PROBLEMS = [problem(str(i)) for i in range(7)]


@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 50))
def test_every_epoch_holds_every_problem_once(seed: int, epoch: int) -> None:
    places = range(epoch * 7, epoch * 7 + 7)
    assert sorted(problem_at(PROBLEMS, seed, place).key for place in places) == list("0123456")


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, epoch: int) -> tuple[str, ...]:
        return tuple(problem_at(PROBLEMS, seed, epoch * 7 + i).key for i in range(7))

    assert len({order(seed, epoch) for seed in range(5) for epoch in range(5)}) == 25


@given(st.lists(st.one_of(st.integers(), st.text()), max_size=4))
def test_a_seed_is_exact_in_json_and_depends_on_everything(told: list[int | str]) -> None:
    assert seed_of(*told) == seed_of(*told)
    assert 0 <= seed_of(*told) < 2**53
    assert seed_of(*told) != seed_of(*told, 0)


def test_numbers_are_not_their_digits() -> None:
    assert len({seed_of(1, 12), seed_of(11, 2), seed_of("1", 12), seed_of(112)}) == 4
