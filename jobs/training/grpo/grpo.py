"""`grpo`: problems and rewards -> LoRA adapter checkpoints, rollouts through the adapter server."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from actors.lm.base import load_tokenizer, resolve_base_name
from actors.pool.books.at import BooksAt
from actors.pool.provider import Provider, open_provider
from actors.store.inputs import read_input
from actors.store.run import Run, open_run
from actors.store.storage import Storage
from actors.train.checkpoint import read_cursor, saved_checkpoints
from actors.train.grpo.environment import Environment
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.grpo.run import OnGrpoStep, OnNote
from actors.train.grpo.tasks.checkers import JUDGE
from actors.train.standby import latest_state
from configs.errors import UserError
from configs.grpo import GrpoConfig
from jobs import console
from jobs.cluster import ray_session
from jobs.training.grpo import view
from jobs.training.grpo.curve import keep_curve
from jobs.training.grpo.judged import JudgeAccess
from jobs.training.grpo.tasks import Task, environment, read_task, resolved
from jobs.training.kept_metrics import complete_metrics, has_metrics, kept_metrics
from jobs.training.place import check_adapter, training_session
from jobs.training.trackers import check_trackers


def run(config: GrpoConfig) -> int:
    """Train, and print the checkpoints with the command that serves them."""
    train(config)
    return 0


def train(config: GrpoConfig) -> list[str]:
    """Train to the end and return the paths of the checkpoints, in the order of their steps."""
    check_trackers(config.report_to)
    task = read_task(config, partial(read_input, storage=Storage(config.storage)))
    check_adapter(config)
    with _judges(config) as provider:
        config = resolved(config, task, provider)
        inputs = {"task": task.digest, "base_model": resolve_base_name(config.base_model)}
        run = open_run(config, "grpo", task.label, inputs)
        try:
            history = _history(config, run)
            if len(history) >= config.steps:
                complete_metrics(run, config, history)
            else:
                view.say_plan(run.run_id, config, task, len(history))
                _train(config, task, provider, run, len(history))
            keep_curve(run)
            saved = saved_checkpoints(run.storage.path(run.folder))
            view.report(config, run, saved, _history(config, run))
            return [checkpoint.path for checkpoint in saved]
        finally:
            run.close()


@contextmanager
def _judges(config: GrpoConfig) -> Iterator[Provider | None]:
    """Who tells the rewards, where judges do."""
    if config.checker != JUDGE:
        yield None
        return
    with open_provider(config.provider, config.storage) as provider:
        console.say(f"provider: {provider.note}")
        yield provider


def _access(run: Run, provider: Provider | None, config: GrpoConfig) -> JudgeAccess | None:
    if provider is None:
        return None
    books = BooksAt(
        run.storage.path(""),
        run.run_id,
        "",
        config.budget_usd,
        config.study_budget_usd,
        provider.replay_only,
    )
    return JudgeAccess(provider, books)


def _history(config: GrpoConfig, run: Run) -> list[GrpoMetrics]:
    """The steps that a try of the run has kept; UserError where it may not be continued."""
    state = latest_state(run.storage.path(run.folder))
    if not config.resume and (state or has_metrics(run)):
        raise UserError(
            f'Run "{run.run_id}" was begun already; give run_id=ANOTHER_NAME, or '
            "resume=true to continue it."
        )
    return read_cursor(state, GrpoMetrics).history if state else []


def _train(config: GrpoConfig, task: Task, provider: Provider | None, run: Run, done: int) -> None:
    pace, files = console.Pace(), RolloutFiles(run.storage.path(run.folder))
    with ExitStack() as opened:
        processes = {
            "num_workers": config.worker_range[0],
            "server.num_replicas": config.server.num_replicas,
        }
        if provider is not None:  # the pool's workers are Ray's, whoever trains
            opened.enter_context(ray_session())
        opened.enter_context(training_session(config, processes))
        keep = opened.enter_context(kept_metrics(run, config))
        shown = opened.enter_context(console.progress("grpo", config.steps, done))

        def on_step(step: GrpoMetrics) -> None:
            per_s = pace.per_s(step.step, time.monotonic()) if keep(step) else 0.0
            if step.step <= done:  # told again
                return
            shown.reach(step.step, view.step_note(step, config.steps, per_s))
            view.say_news(step)
            if config.show_every and step.step % config.show_every == 0:
                view.show_answers(step.step, files.read(step.step))

        made = environment(task, config, _access(run, provider, config))
        _on_backend(config, made, run, on_step, shown.note)


def _on_backend(
    config: GrpoConfig, task: Environment, run: Run, on_step: OnGrpoStep, on_note: OnNote
) -> None:
    """Train where the config says. Both load on use: Ray Train takes seconds."""
    told = {
        "run_id": run.run_id,
        "folder": run.storage.path(run.folder),
        "on_step": on_step,
        "on_note": on_note,
    }
    base_model = resolve_base_name(config.base_model)
    if config.backend == "tinker":
        from actors.train.on_tinker.trainer import train_grpo_on_tinker
        from serve.tinker_policy import TinkerSampler

        tokenizer = load_tokenizer(config.base_model)
        sampler = partial(TinkerSampler, base_model=base_model, tokenizer=tokenizer)
        train_grpo_on_tinker(config, task, sampler, **told)
        return
    from actors.train.on_ray.trainer import cluster_shares, train_grpo
    from serve.launch import policy_server

    # Workers have a working directory of their own: a relative base would not be found there.
    placed = config.model_copy(update={"base_model": base_model})
    sharing = {
        "beside_trainer": config.max_staleness > 0,
        "gpus_per_replica": cluster_shares(config).replica,
    }
    with policy_server(base_model, config.server, **sharing) as sampler:
        train_grpo(placed, task, sampler, **told)
