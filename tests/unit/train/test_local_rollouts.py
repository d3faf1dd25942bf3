"""Rollouts of a real engine: versions in its slots, seeds, and the sampler's own numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from fake_sampler import TOKENIZER, FakeTask, rollout_config
from local_sampler import LocalSampler
from looped_engine import looped
from peft import PeftModel
from small_adapters import write_small_adapter
from transformers import LlamaForCausalLM

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.messages import Message, user
from actors.lm.requests import BASE
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.evaluation import Evaluated
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.rollout import Batch, datums_of
from actors.train.grpo.source import RolloutSource
from configs.sections import ServerConfig
from serve.engines import ENGINES

_HEAT = 0.7
_NEAR = 1e-4


class Trained(NamedTuple):
    """Two batches by two policies, what the third is worth, and what was left in the slots."""

    batches: list[Batch]
    evaluated: Evaluated
    left: set[str]


def twice(problem: Problem, turns: Sequence[Message]) -> Reward | Reply:
    """Two answers, worth the letters of the last."""
    if len(turns) == 1:
        return Reply([user("go on")])
    return Reward(float(sum(letter.isalpha() for letter in turns[-1]["content"])))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """All that a small model can use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serve.engines.torch.cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def paths(small_base: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("policies")
    return [write_small_adapter(root / str(seed), small_base, seed) for seed in range(3)]


@pytest.fixture(scope="module")
def policies(paths: list[str]) -> list[Adapter]:
    return [read_adapter(path) for path in paths]


def train(base: str, policies: Sequence[Adapter], folder: Path, max_batch: int) -> Trained:
    """By an engine of so many rows."""
    server = ServerConfig.model_validate(
        {"device": "cpu", "max_adapters": 2, "max_batch": max_batch}
    )
    config = rollout_config(
        steps=2, temperature=_HEAT, max_tokens=8, max_prompt_tokens=200, eval_problems=2
    )
    with looped(lambda: ENGINES["torch"](base, server)) as engine:
        sampler, files = LocalSampler(engine), RolloutFiles(str(folder))
        task = FakeTask(twice)
        source = RolloutSource(task, sampler, TOKENIZER, config, name="run-1", files=files)
        try:
            source.open()
            source.publish(1, policies[0])
            source.begin(1, 0, 0)
            batches = []
            for step in (1, 2):
                batches.append(source.next(step))
                published = source.publish(step + 1, policies[step])
                assert published.digest == policies[step].digest
            evaluated = source.evaluate()
            source.sleep()
            return Trained(batches, evaluated, set(engine.adapters()))
        finally:
            source.close()


@pytest.fixture(scope="module")
def trained(
    small_base: str, policies: list[Adapter], tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    return train(small_base, policies, tmp_path_factory.mktemp("many"), 64)


def test_old_versions_leave_their_slots(trained: Trained) -> None:
    assert trained.left == {BASE, "run-1@3"}


def test_tokens_do_not_depend_on_how_many_are_sampled_together(
    trained: Trained, small_base: str, policies: list[Adapter], tmp_path: Path
) -> None:
    few = train(small_base, policies, tmp_path, 3)
    assert few.evaluated == trained.evaluated
    for one, other in zip(few.batches, trained.batches, strict=True):
        for group, same in zip(one.groups_P, other.groups_P, strict=True):
            assert group.problem == same.problem
            for rollout, again in zip(group.rollouts_G, same.rollouts_G, strict=True):
                assert rollout.messages == again.messages
                assert [t.token_ids for t in rollout.turns] == [t.token_ids for t in again.turns]
                assert (rollout.seed, rollout.choice) == (again.seed, again.choice)
                assert rollout.reward == again.reward


@torch.inference_mode()
def test_datums_carry_the_tempered_numbers_of_their_own_version(
    trained: Trained, small_base: str, paths: list[str]
) -> None:
    for path, batch in zip(paths, trained.batches, strict=False):
        model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(small_base), path)
        rollouts = [rollout for group in batch.groups_P for rollout in group.rollouts_G]
        for datum in (datum for rollout in rollouts for datum in datums_of(rollout)):
            assert datum.logprobs is not None
            assert datum.advantages is not None
            logits = model(input_ids=torch.from_numpy(datum.token_ids)[None]).logits[0]
            targets = torch.from_numpy(datum.target_ids)[:, None]
            own = (logits / _HEAT).log_softmax(-1).gather(1, targets)[:, 0]
            told, said = torch.from_numpy(datum.logprobs), torch.from_numpy(datum.advantages)
            assert said.any()
            assert ((own * said) - told).abs().max() < _NEAR


def test_a_turn_that_reads_back_otherwise_begins_another_datum(trained: Trained) -> None:
    """Bytes that are no text come back as other tokens, and must not be learned in their place."""
    rollouts = [
        r for batch in trained.batches for group in batch.groups_P for r in group.rollouts_G
    ]
    counts = set()
    for rollout in rollouts:
        first, second = rollout.turns
        said = [*first.prompt_ids, *first.token_ids]
        goes_on = list(second.prompt_ids[: len(said)]) == said
        datums = list(datums_of(rollout))
        assert len(datums) == (1 if goes_on else 2)
        counts.add(len(datums))
    assert 2 in counts
