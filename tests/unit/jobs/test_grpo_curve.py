"""A run's learning curve."""

from hypothesis import given
from hypothesis import strategies as st

from jobs.training.grpo.curve import draw_curve, smoothed

rewards = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(rewards, st.integers(1, 30))
def test_a_smoothed_value_lies_among_those_that_it_is_the_mean_of(values: list[float], span: int):
    found = smoothed(values, span)
    assert len(found) == len(values)
    assert found[0] == values[0]
    for end, mean in enumerate(found, 1):
        among = values[max(0, end - span) : end]
        assert min(among) - 1e-9 <= mean <= max(among) + 1e-9


def test_runs_with_and_without_measurements_are_drawn():
    plain = [{"step": step, "reward": step / 9} for step in range(1, 10)]
    measured = [{**plain[0], "start_reward": 0.1, "start_greedy": 0.0}, *plain[1:-1]]
    measured.append({**plain[-1], "eval_reward": 0.9, "eval_greedy": 1.0})
    one, several = draw_curve({"a": plain}, "one"), draw_curve({"a": plain, "b": measured}, "two")
    assert one.startswith(b"\x89PNG")
    assert several.startswith(b"\x89PNG")
    assert one != several
