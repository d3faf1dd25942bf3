"""The bench of scoring on a small base: lm-eval's own hf model and ours say the same."""

import json
import random
from pathlib import Path

import pytest
import torch
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.requests import Likelihood
from configs.bench import BenchConfig
from configs.errors import UserError
from jobs.bench.score.groups import GROUPS, opened
from jobs.bench.score.ours import Ours
from jobs.bench.score.peer import Peer
from jobs.bench.score.tasks import Asked, accuracies, asked

_WORDS = ["plan", "risk", "people", "faster", "hides", "team", "choose", "tell", "them", "never"]


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Two files of questions: some asked twice, some with a gold beyond the choices."""
    rng = random.Random(0)
    folder = tmp_path_factory.mktemp("questions")
    for name, count in (("first", 20), ("second", 12)):
        rows = [
            {
                "question": " ".join(rng.choices(_WORDS, k=rng.randint(2, 12))),
                "answer_matching_behavior": rng.choice([" (A)", " (B)", " (C)", " (D)", " (F)"]),
            }
            for _ in range(count)
        ]
        lines = [json.dumps(row) for row in [*rows, rows[0]]]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return asked(sorted(folder.glob("*.jsonl")), folder / "cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    return write_small_base(tmp_path_factory.mktemp("base"))


def _alike(requests: Asked, expected: list[Likelihood], got: list[Likelihood]) -> None:
    assert [x.is_greedy for x in got] == [x.is_greedy for x in expected]
    assert [x.logprob for x in got] == pytest.approx([x.logprob for x in expected], abs=4e-6, rel=0)
    assert accuracies(requests, got) == accuracies(requests, expected)


def test_ours_says_what_lm_eval_says(requests: Asked, base: str) -> None:
    assert requests.questions == 21 + 13
    assert len(requests.instances) == 4 * 34
    (expected,) = Peer(base).answers(requests)
    with Ours(base) as ours:
        (got,) = ours.answers(requests)
    _alike(requests, expected, got)
    values = accuracies(requests, got)
    assert values["all"] == pytest.approx((21 * values["first"] + 13 * values["second"]) / 34)


def test_adapters_in_one_call_say_what_lm_eval_says_one_by_one(
    requests: Asked, base: str, tmp_path: Path
) -> None:
    adapters = [
        write_small_adapter(tmp_path / "all", base, 1),
        write_small_adapter(tmp_path / "last", base, 2, layers_to_transform=[1]),
    ]
    expected = Peer(base, adapters).answers(requests)
    with Ours(base, adapters) as ours:
        got = ours.answers(requests)
    assert got[0] != got[1]
    for theirs, own in zip(expected, got, strict=True):
        _alike(requests, theirs, own)


def test_other_answers_have_other_accuracies(requests: Asked, base: str) -> None:
    with Ours(base) as ours:
        (got,) = ours.answers(requests)
    turned = [Likelihood(-x.logprob, x.is_greedy) for x in got]
    assert accuracies(requests, turned) != accuracies(requests, got)


@pytest.mark.parametrize(
    ("data_dir", "message"), [(None, "data_dir="), ("/nowhere", "/nowhere: holds 0 .* 16 files")]
)
def test_without_the_files_it_says_what_to_give(data_dir: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message), opened(BenchConfig(data_dir=data_dir)):
        raise AssertionError("there is nothing to open")


def test_figures_have_names_of_their_own() -> None:
    names = [figure.name for group in GROUPS for figure in group.figures]
    assert len(set(names)) == len(names)
