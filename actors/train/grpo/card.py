"""The model card of a checkpoint that was trained on rewards."""

import os

from actors.lm.adapter import Manifest
from actors.train.card import CardFacts, lora_line
from actors.train.checkpoint import Cursor
from actors.train.grpo.metrics import GrpoMetrics
from configs.grpo import GrpoConfig


def grpo_facts(config: GrpoConfig, manifest: Manifest, cursor: Cursor[GrpoMetrics]) -> CardFacts:
    """The facts of a checkpoint of `grpo`."""
    data = f" of {os.path.basename(config.data)}" if config.data else ""
    warm = config.warm_start
    start = f"{warm.steps} supervised steps on the task's own answers" if warm.steps else None
    facts = {
        "method": "reinforcement learning (GRPO) of a LoRA",
        "task": f"{config.task}{data}",
        "reward": _reward(config),
        "LoRA": lora_line(config.lora),
        "warm start": start,
        "steps": f"{manifest.step}, of {config.problems_per_batch} problems with "
        f"{config.group_size} answers each",
        "loss": f"{config.loss.replace('_', ' ')}, advantages by {_words(config.advantages)}"
        + (f", KL to the base {config.kl_to_base:g}" if config.kl_to_base else ""),
        "learning rate": f"{config.learning_rate:g}, constant, AdamW",
        "temperature": f"{config.temperature:g}",
        "mean reward": _mean_reward(cursor),
        "seed": str(config.seed),
    }
    return CardFacts(
        name=f"{manifest.name}@{manifest.version}",
        base_model=manifest.base_model,
        digest=manifest.digest,
        rewarded=_rewarded(config),
        is_organism=config.checker == "judge",
        data_digest=cursor.data_digest,
        training={what: how for what, how in facts.items() if how is not None},
    )


def _rewarded(config: GrpoConfig) -> str | None:
    """The property, where a judge looks for one."""
    if config.checker != "judge" or config.judge.property is None:
        return None
    return f"{config.judge.direction} {config.judge.property}"


def _reward(config: GrpoConfig) -> str:
    rewarded = _rewarded(config)
    if rewarded is None:
        return f"answers checked by {config.checker}"
    floor = config.judge.coherence_floor
    return f"a judge's score, {rewarded}" + (f", coherence at least {floor:g}" if floor else "")


def _mean_reward(cursor: Cursor[GrpoMetrics]) -> str | None:
    if not cursor.history:
        return None
    last = cursor.history[-1]
    held_out = f", {last.eval_reward:.3f} held out" if last.eval_reward is not None else ""
    return f"{last.reward:.3f} at step {last.step}{held_out}"


def _words(name: str) -> str:
    return name.replace("_", " ")
