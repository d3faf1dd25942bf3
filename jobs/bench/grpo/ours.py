"""Ours, as the job runs it: the trainer on Ray Train, the adapter server on Ray Serve.

Left alone the sampler takes all cores, and the trainer all but one. With `one_thread` each has one:
Ray is held to two cores, and the sampler is told.
"""

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from statistics import mean

from actors.lm.base import load_tokenizer
from actors.lm.chat import prompt_ids
from actors.lm.messages import user
from actors.lm.sampler import PolicySampler
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.on_ray.trainer import train_grpo
from configs.sections import ServerConfig
from jobs.bench.grpo.child import serve, started
from jobs.bench.grpo.task import environment
from jobs.bench.grpo.timed import Handover, TimedSampler, read_times
from jobs.bench.grpo.work import Measured, Start, Work, settings
from jobs.cluster import ray_session
from serve.launch import policy_server

_RUN = "bench"


def train(start: Start, sampler: PolicySampler, work: Work) -> Measured:
    """A run over some work, on a sampler that is there."""
    folder = tempfile.mkdtemp(dir=start.folder)
    times = os.path.join(folder, "times.jsonl")
    question_ids = prompt_ids(load_tokenizer(start.base), [user(work.questions[0])])
    rows: list[GrpoMetrics] = []
    train_grpo(
        settings(start, work),
        environment(work),
        TimedSampler(sampler, question_ids, times),
        run_id=_RUN,
        folder=folder,
        on_step=rows.append,
    )
    return measured(work, rows, read_times(times))


def measured(work: Work, rows: Sequence[GrpoMetrics], times: Sequence[Handover]) -> Measured:
    """What a run's steps and its clock come to."""
    if len(times) != len(rows):
        raise RuntimeError(f"{len(times)} of {len(rows)} steps had something to learn from")
    steps, last_warm = rows[work.warm_steps :], times[work.warm_steps - 1]
    return Measured(
        wall_s=times[-1].stepped_s - last_warm.stepped_s,
        tokens=round(mean(row.tokens for row in steps)),
        reward=mean(row.reward for row in steps),
        spread=mean(row.reward_std for row in steps),
        sampling_s=mean(row.rollout_s for row in steps),
        handovers_s=[one.said_s - one.stepped_s for one in times[work.warm_steps :]],
    )


def main() -> None:
    """Start what all the work is done on."""
    start, server = started(), ServerConfig()
    if start.one_thread:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-2:])
        server = ServerConfig(threads=1)
    with ray_session(), policy_server(start.base, server) as sampler:
        serve(partial(train, start, sampler))


if __name__ == "__main__":
    main()
