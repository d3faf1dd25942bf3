"""What the card of an adapter can tell, from its directory and from the run that it stands in."""

from contextlib import suppress

import fsspec
import yaml
from pydantic import ValidationError

from actors.lm.adapter import Adapter
from actors.train.card import CardFacts, run_facts
from actors.train.checkpoint import read_cursor
from actors.train.grpo.card import grpo_facts
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.metrics import StepMetrics
from configs.errors import UserError
from configs.grpo import GrpoConfig
from configs.sft import SftConfig

_RUN = "/checkpoints/"


def known_facts(path: str, adapter: Adapter) -> CardFacts:
    """Everything about a checkpoint of a run; of a foreign adapter its base and its digest."""
    made_by = adapter.manifest
    fs, root = fsspec.core.url_to_fs(path)
    if made_by is not None:
        with suppress(OSError, yaml.YAMLError, KeyError, TypeError, ValidationError, UserError):
            run = yaml.safe_load(fs.cat_file(f"{root.rpartition(_RUN)[0]}/run.yaml"))
            if run["job"] == "grpo":
                trained = GrpoConfig.model_validate(run["config"])
                return grpo_facts(trained, made_by, read_cursor(path, GrpoMetrics))
            config = SftConfig.model_validate(run["config"])
            return run_facts(config, made_by, read_cursor(path, StepMetrics))
    name = f"{made_by.name}@{made_by.version}" if made_by else root.rstrip("/").rpartition("/")[2]
    return CardFacts(name, adapter.base_model, adapter.digest)
