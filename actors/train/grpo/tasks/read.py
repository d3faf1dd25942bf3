"""The problems that a config names, checked: whatever is wrong is told at once, with its place."""

import os
import random
from collections.abc import Callable, Sequence
from functools import partial

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.train.data.problems import Problems
from actors.train.data.source import Read
from actors.train.grpo.tasks.arithmetic import arithmetic
from actors.train.grpo.tasks.checkers import JUDGE, find_checker
from actors.train.grpo.tasks.fit import overlaps, too_long, with_system_prompt
from actors.train.grpo.tasks.gsm8k import gsm8k_of_hub, gsm8k_rows
from actors.train.grpo.tasks.problem_set import Placed, ProblemSet, Sides, problem_set
from actors.train.grpo.tasks.prompts import prompt_rows
from configs.errors import UserError
from configs.grpo import GrpoConfig

# The problems of a file for a side of the set: by side, path, bytes, and where faults go.
Parse = Callable[[str, str, bytes, Problems], list[Placed]]


def read_problems(
    config: GrpoConfig, tokenizer: PreTrainedTokenizerBase, context_tokens: int, read: Read
) -> ProblemSet:
    """Everything that is learned from and measured.

    Args:
        config: names the task, its files and what checks the answers.
        tokenizer: of the base model.
        context_tokens: that the base model can take, the answer included.
        read: gives the bytes of a file by its name; UserError where it cannot.

    Raises:
        UserError: with the faults of all problems, each with its place.
    """
    if config.max_tokens >= context_tokens:
        raise UserError(
            f"max_tokens={config.max_tokens}: base_model={config.base_model} has a context of "
            f"{context_tokens} tokens, the prompt's included; give less."
        )
    faults = Problems()
    sides = _sides(config, read, faults)
    for fault in [*_unanswerable(config, sides), *overlaps(sides)]:
        faults.add(fault)
    sides = Sides(*(with_system_prompt(side, config.system_prompt, faults) for side in sides))
    for placed in [*sides.training, *sides.held_out]:
        if fault := too_long(placed.problem, tokenizer, config, context_tokens):
            faults.add(f"{placed.where}: {fault}.")
    faults.check()
    return problem_set(sides, _label(config))


def _sides(config: GrpoConfig, read: Read, faults: Problems) -> Sides:
    if config.eval_data and config.eval_share:
        raise UserError("eval_data and eval_share exclude each other; give one of them.")
    if config.task == "arithmetic":
        if config.data or config.eval_data or config.eval_share:
            raise UserError(
                "task=arithmetic makes its problems, held-out ones too: leave out data, "
                "eval_data and eval_share, or give task=prompts."
            )
        return arithmetic(config.numbers)
    parse = _parser(config)
    if config.data is None:
        sides = gsm8k_of_hub(faults)
    else:
        sides = Sides(_file("data", config.data, parse, read, faults), [])
    if config.eval_data:
        held_out = _file("eval_data", config.eval_data, parse, read, faults)
        return Sides(sides.training, held_out)
    return _divided(sides.training, config) if config.eval_share else sides


def _parser(config: GrpoConfig) -> Parse:
    if config.task == "gsm8k":
        return gsm8k_rows
    property_name = config.judge.property if config.checker == JUDGE else None
    return partial(prompt_rows, property_name=property_name)


def _file(side: str, path: str, parse: Parse, read: Read, faults: Problems) -> list[Placed]:
    known, placed = len(faults), []
    with faults.told():
        placed = parse(side, path, read(path), faults)
    if not placed and len(faults) == known:
        faults.add(f"{path}: holds no problems.")
    return placed


def _divided(problems: Sequence[Placed], config: GrpoConfig) -> Sides:
    """A share is held out, by the run's seed."""
    count = round(len(problems) * config.eval_share)
    if problems and not 0 < count < len(problems):
        raise UserError(
            f"eval_share={config.eval_share}: {len(problems)} problems cannot be divided so; give "
            "another share, or eval_data=PATH."
        )
    drawn = random.Random(f"held out {config.seed}").sample(range(len(problems)), count)
    chosen = set(drawn)
    return Sides(
        [placed for i, placed in enumerate(problems) if i not in chosen],
        [placed for i, placed in enumerate(problems) if i in chosen],
    )


def _unanswerable(config: GrpoConfig, sides: Sides) -> list[str]:
    """Problems that cannot be checked, or not be shown to whoever is to have a warm start."""
    faults = []
    if config.checker != JUDGE:
        answer_fault = find_checker(config.checker).answer_fault
        faults = [
            f'{where}: "answer" {fault}, so checker={config.checker} has nothing to go by.'
            for side in sides
            for where, problem in side
            if (fault := answer_fault(problem.answer))
        ]
    if config.warm_start.steps and any(problem.worked is None for _, problem in sides.training):
        faults.append(
            f"warm_start.steps={config.warm_start.steps}: task={config.task} has no whole answers "
            "to learn from; train with `sft` first."
        )
    return faults


def _label(config: GrpoConfig) -> str:
    """What the problems are about, for the run's name."""
    stem = os.path.basename(config.data or "").split(".")[0]
    return stem if config.task == "prompts" else config.task
