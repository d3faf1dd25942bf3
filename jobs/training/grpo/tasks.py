"""From a config to the environment that it trains in: read first, opened where rollouts run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.lm.base import context_tokens, load_tokenizer
from actors.lm.plain_chat import PLAIN_STOP, is_plain
from actors.pool.provider import Provider
from actors.train.data.source import Read
from actors.train.grpo.environment import Environment, Problem
from actors.train.grpo.tasks.checked import CheckedTask
from actors.train.grpo.tasks.checkers import JUDGE
from actors.train.grpo.tasks.problem_set import ProblemSet
from actors.train.grpo.tasks.read import read_problems
from configs.base import digest
from configs.errors import UserError
from configs.grpo import GrpoConfig
from jobs.training.grpo.judge_reward import RewardRubrics, reward_rubrics
from jobs.training.grpo.judged import JudgeAccess, JudgedTask


@dataclass(frozen=True)
class Task:
    """What a config asks for, read and checked; nobody has been asked for anything."""

    problems: ProblemSet
    rubrics: RewardRubrics | None  # where judges give the rewards
    digest: str  # of everything that determines problems and rewards, but the config's own fields
    is_plain: bool  # whether the base has no chat template of its own

    @property
    def training(self) -> Sequence[Problem]:
        """The problems that are learned from."""
        return self.problems.training

    @property
    def held_out(self) -> Sequence[Problem]:
        """Problems that are only measured."""
        return self.problems.held_out

    @property
    def label(self) -> str:
        """What it is about, for the run's name."""
        return self.problems.label


def read_task(config: GrpoConfig, read: Read) -> Task:
    """The task of a config; UserError with everything that is wrong with its files."""
    tokenizer = load_tokenizer(config.base_model)
    problems = read_problems(config, tokenizer, context_tokens(config.base_model), read)
    if config.checker != JUDGE:
        identity = CheckedTask(problems, config.checker).digest
        return Task(problems, None, identity, is_plain(tokenizer))
    rubrics = reward_rubrics(config.judge, read)
    identity = digest([problems.digest, *rubrics.hashes])
    return Task(problems, rubrics, identity, is_plain(tokenizer))


def resolved(config: GrpoConfig, task: Task, provider: Provider | None) -> GrpoConfig:
    """The config with what the base and whoever answers decide; `provider` where judges are asked.

    The run's name is made of it: other judges are another run.
    """
    decided: dict[str, Any] = {}
    if task.is_plain and PLAIN_STOP not in config.stop:
        decided["stop"] = [*config.stop, PLAIN_STOP]
    if provider is not None:
        models = config.judge.models or [_default_model(provider)]
        judge = config.judge.model_copy(update={"models": models})
        decided |= {"provider": provider.name, "judge": judge}
    return config.model_copy(update=decided)


def environment(task: Task, config: GrpoConfig, judge: JudgeAccess | None) -> Environment:
    """What travels to the process that asks the sampler, of a resolved config."""
    if task.rubrics is None:
        return CheckedTask(task.problems, config.checker)
    assert judge is not None, "the task's rewards are judged: somebody has to be asked"
    return JudgedTask(task.problems, task.rubrics, config, judge, task.digest)


def _default_model(provider: Provider) -> str:
    if provider.default_model is None:
        raise UserError(
            f"provider={provider.name} has no default model: give 'judge.models=[NAME]'."
        )
    return provider.default_model
