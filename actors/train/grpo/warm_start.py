"""Supervised steps on a task's own answers, so that a policy is right now and then.

Where no answer of a group is ever right there is nothing to learn from. The steps are no part of
the run's history; their end is its checkpoint of step 0.
"""

from collections.abc import Callable, Sequence

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.messages import assistant
from actors.train.backend import AdamParams, TrainingBackend
from actors.train.data.datums import Rules, make_datums
from actors.train.data.problems import Problems
from actors.train.data.row import Row
from actors.train.datum import Datum, normalised
from actors.train.finite import check_step
from actors.train.grpo.environment import Problem
from actors.train.rates import rate_share, warmup_length
from actors.train.schedule import Schedule
from configs.errors import UserError
from configs.grpo import GrpoConfig

_RISING_SHARE = 0.05  # of the steps
_TOLD_STEPS = 10  # one in so many is told


def warm_start(
    backend: TrainingBackend,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    config: GrpoConfig,
    on_note: Callable[[str], None] = lambda note: None,
) -> None:
    """Learn from `Problem.worked`; UserError where there is none.

    The rate rises in a few steps, then falls to 0 linearly. `on_note` hears how far it is.
    """
    settings = config.warm_start
    datums = worked_datums(tokenizer, problems, config.max_row_tokens)
    per_epoch = -(-len(datums) // settings.batch_size)
    epochs = -(-settings.steps // per_epoch)
    schedule = Schedule(len(datums), epochs, settings.batch_size, config.seed)
    rising_steps = warmup_length(0, _RISING_SHARE, settings.steps)
    for step in range(settings.steps):
        batch = [datums[row] for row in schedule.batch(step)]
        passing = backend.forward_backward(normalised(batch), "cross_entropy")
        rate = settings.learning_rate * rate_share("linear", step, settings.steps, rising_steps)
        stepping = backend.optim_step(
            AdamParams(
                learning_rate=rate,
                weight_decay=config.weight_decay,
                grad_clip_norm=config.max_grad_norm,
            )
        )
        passed, stepped = passing.result(), stepping.result()
        check_step(step + 1, passed, stepped.grad_norm, [], settings.learning_rate)
        if (step + 1) % _TOLD_STEPS == 0:
            on_note(f"warm start {step + 1}/{settings.steps}")


def worked_datums(
    tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], max_tokens: int
) -> list[Datum]:
    """Each problem with its worked answer, of which the answer is learned."""
    rows = [
        Row(f'problem "{problem.key}"', [*problem.messages, assistant(problem.worked)])
        for problem in problems
        if problem.worked is not None
    ]
    if not rows:
        raise UserError(
            "warm_start.steps needs problems that come with a worked answer, and none of this "
            "task's do; give warm_start.steps=0."
        )
    faults = Problems()
    made = make_datums(tokenizer, rows, Rules("last_assistant", max_tokens, "error"), faults)
    faults.check()
    return [datum for _, datum in made.taught]
