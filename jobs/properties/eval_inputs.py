"""What an evaluation reads, all of it checked before anything is started."""

from typing import NamedTuple

from actors.lm.adapter import Adapter
from actors.lm.base import load_tokenizer
from actors.store.inputs import content_digest, read_input
from actors.store.storage import Storage
from actors.train.remote import RemoteAdapter
from configs.eval import EvalConfig
from jobs.judging.rubrics import Rubric, read_rubrics
from jobs.properties.checkpoints import read_checkpoints
from jobs.properties.prompt_file import EvalItem, parse_eval_file
from jobs.properties.samplers import adapter_digests


class Inputs(NamedTuple):
    """What an evaluation reads."""

    items: list[EvalItem]
    adapters: dict[str, Adapter | RemoteAdapter]
    rubrics: dict[str, Rubric]  # by property
    digests: dict[str, str]  # of the inputs, by name


def read_inputs(config: EvalConfig) -> Inputs:
    """The inputs that a config names; UserError for the first that cannot be used."""
    storage = Storage(config.storage)
    data = read_input(config.eval_file, storage)
    items = parse_eval_file(config.eval_file, data, config.property)[: config.max_prompts]
    names = dict.fromkeys(item.property for item in items)
    rubrics = read_rubrics(config.rubrics, config.judge_score, names, storage)
    adapters = read_checkpoints(config.checkpoint_paths, storage)
    digests = {
        "eval_file": content_digest(data),
        **{f"rubric of {name}": rubric.hash for name, rubric in rubrics.items()},
        **adapter_digests(adapters),
    }
    load_tokenizer(config.base_model)  # builds `tiny`, and refuses a wrong name
    return Inputs(items, adapters, rubrics, digests)
