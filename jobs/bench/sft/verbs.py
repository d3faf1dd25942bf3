"""A pass and a step on it, in this process or through Tinker's SDK and the front of a server."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from actors.lm.base import load_base
from actors.train.backend import AdamParams, TrainingBackend
from actors.train.on_torch.shared_base import SharedBase
from configs.sft import SftConfig
from jobs.bench.sft.child import answer
from jobs.bench.sft.rows import make_datum
from jobs.bench.sft.work import Start, Took, Work, settings

_WARM, _TIMES = 2, 10
_PATIENCE_S = 120.0


def step_s(start: Start, work: Work) -> Took:
    """The median of a few steps on one batch."""
    config, datums, took = settings(start, work), [make_datum(row) for row in work.rows], []
    with _here(config) if work.url is None else _there(config, work.url) as backend:
        for _ in range(_WARM + _TIMES):
            started_s = time.perf_counter()
            passing = backend.forward_backward(datums, "cross_entropy")
            stepping = backend.optim_step(AdamParams(config.learning_rate))
            passing.result()
            stepping.result()
            took.append(time.perf_counter() - started_s)
    return Took(wall_s=median(took[_WARM:]))


@contextmanager
def _here(config: SftConfig) -> Iterator[TrainingBackend]:
    """As the front's trainer has it: it cannot know which log-probabilities a client looks at."""
    base = load_base(config.base_model)
    shared = SharedBase(base, config.micro_batch_tokens, reads_all=True)
    yield shared.adapter(config.lora, config.seed)


@contextmanager
def _there(config: SftConfig, url: str) -> Iterator[TrainingBackend]:
    os.environ.update(TINKER_BASE_URL=url, TINKER_API_KEY="tml-bench", TINKER_TELEMETRY="0")
    from actors.train.on_tinker.backend import TinkerBackend
    from actors.train.on_tinker.lora import ServiceLora
    from actors.train.on_tinker.service import open_service

    lora = ServiceLora(rank=config.lora.rank, train_mlp=True, train_attn=True, train_unembed=False)
    with open_service() as service:
        base = os.path.realpath(config.base_model)
        yield TinkerBackend(service, base, lora, config.seed, _PATIENCE_S)


if __name__ == "__main__":
    answer(step_s)
