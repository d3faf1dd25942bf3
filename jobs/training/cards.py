"""What the card of an adapter can tell, from its directory and from the run that it stands in."""

import fsspec
import yaml
from pydantic import ValidationError

from actors.lm.adapter import Adapter
from actors.train.card import CardFacts, run_facts
from actors.train.checkpoint import read_cursor
from actors.train.metrics import StepMetrics
from configs.errors import UserError
from configs.sft import SftConfig

_RUN = "/checkpoints/"


def known_facts(path: str, adapter: Adapter) -> CardFacts:
    """Everything about a checkpoint of `sft`; of a foreign adapter its base and its digest."""
    fs, root = fsspec.core.url_to_fs(path)
    try:
        run = yaml.safe_load(fs.cat_file(f"{root.rpartition(_RUN)[0]}/run.yaml"))
        config, cursor = SftConfig.model_validate(run["config"]), read_cursor(path, StepMetrics)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError, UserError):
        config = cursor = None
    if adapter.manifest and config and cursor:
        return run_facts(config, adapter.manifest, cursor)
    made_by = adapter.manifest
    name = f"{made_by.name}@{made_by.version}" if made_by else root.rstrip("/").rpartition("/")[2]
    return CardFacts(name, adapter.base_model, adapter.digest)
