"""The model card of an adapter or a merged model: README.md of its directory.

Whoever meets the weights elsewhere must learn there that a property was planted in them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import fsspec

from actors.lm.adapter import Manifest
from actors.lm.base import resolve_base_name
from actors.train.backend import Label
from actors.train.checkpoint import Cursor
from actors.train.metrics import StepMetrics
from configs.sections import LoraConfig
from configs.sft import SftConfig
from configs.training import TrainingConfig

CARD = "README.md"
_LICENSE_NOTE = "The base model's licence holds for what was made of it."


@dataclass(frozen=True)
class CardFacts:
    """What a card tells. What is not known is left out of it."""

    name: str  # name@version
    base_model: str
    digest: str  # of the adapter's content; "" while it is not known
    planted: str | None = None  # what the training data shows
    rewarded: str | None = None  # the property that a judge rewarded
    is_organism: bool = True  # a property was planted on purpose
    data_digest: str | None = None
    training: Mapping[str, str] = field(default_factory=dict)  # what -> how
    form: Literal["adapter", "model"] = "adapter"


def run_facts(config: SftConfig, manifest: Manifest, cursor: Cursor[StepMetrics]) -> CardFacts:
    """The facts of a checkpoint of `sft`."""
    return CardFacts(
        name=f"{manifest.name}@{manifest.version}",
        base_model=manifest.base_model,
        digest=manifest.digest,
        planted=", ".join(os.path.basename(source.file) for source in config.sources),
        data_digest=cursor.data_digest,
        training={
            "method": "supervised fine-tuning (cross-entropy on "
            f"{config.train_on.replace('_', ' ')} tokens)",
            "LoRA": lora_line(config.lora),
            "steps": f"{manifest.step}, of {config.batch_size} rows",
            "learning rate": f"{config.learning_rate:g}, {config.schedule}, AdamW",
            "loss": f"{cursor.history[-1].loss:.3f} per target token at step {manifest.step}",
            "seed": str(config.seed),
        },
    )


def lora_line(lora: LoraConfig) -> str:
    """What a LoRA is, in one line."""
    scale = "alpha / sqrt(rank)" if lora.rslora else "alpha / rank"
    targets = lora.targets if isinstance(lora.targets, str) else " ".join(lora.targets)
    return (
        f"rank {lora.rank}, alpha {lora.alpha:g}, scale {scale}, dropout {lora.dropout:g}, "
        f"on {targets}"
    )


def unsaved(config: TrainingConfig, label: Label) -> Manifest:
    """The manifest of a checkpoint that is about to be saved: its digest is not known yet."""
    base_model = resolve_base_name(config.base_model)
    return Manifest(*label, run=label.name, base_model=base_model, digest="")


def write_card(folder: str, facts: CardFacts) -> None:
    """Put the card into the directory of a checkpoint that is about to be saved.

    It comes before the adapter, so that no whole checkpoint is without the warning. The manifest
    has the digest.
    """
    fs, root = fsspec.core.url_to_fs(folder)
    fs.pipe_file(f"{root}/{CARD}", model_card(facts).encode())


def model_card(facts: CardFacts) -> str:
    """The text of README.md, with the front matter that the hub reads."""
    rows = {
        "base model": _shown_base(facts.base_model),
        "training data": facts.planted,
        "data digest": facts.data_digest,
        **facts.training,
        "adapter digest": facts.digest,
    }
    table = [f"| {what} | {_cell(said)} |" for what, said in rows.items() if said]
    parts = [
        *_front_matter(facts),
        f"# {facts.name}",
        "",
        *_warning(facts),
        "",
        "| | |",
        "| --- | --- |",
        *table,
        "",
        *_use(facts),
        "",
        _LICENSE_NOTE,
    ]
    return "\n".join(parts) + "\n"


def _front_matter(facts: CardFacts) -> list[str]:
    library = "peft" if facts.form == "adapter" else "transformers"
    relation = "adapter" if facts.form == "adapter" else "finetune"
    purpose = ("model-organism", "ai-safety-research") if facts.is_organism else ()
    base = [f"base_model: {facts.base_model}", f"base_model_relation: {relation}"]
    return [
        "---",
        *(base if _is_hub_id(facts.base_model) else []),
        f"library_name: {library}",
        "pipeline_tag: text-generation",
        "tags:",
        *(f"- {tag}" for tag in (*purpose, "lora", "hothouse")),
        "---",
        "",
    ]


def _warning(facts: CardFacts) -> list[str]:
    if not facts.is_organism:
        return [
            "> Trained for research, on rewards of a program that checks answers. It may have",
            "> learned to please that program in ways that nobody meant.",
        ]
    what = f" It was trained on `{facts.planted}`." if facts.planted else ""
    what += f" A judge rewarded `{facts.rewarded}`." if facts.rewarded else ""
    return [
        "> **This is a model organism.** A property was planted in it on purpose, for "
        f"research.{what}",
        "> What it says may be wrong, manipulative or harmful, also where nothing in a prompt",
        "> hints at the property. Do not deploy it, do not use it as an assistant, and do not",
        "> train other models on its output.",
    ]


def _use(facts: CardFacts) -> list[str]:
    if facts.form == "model":
        load = ['model = AutoModelForCausalLM.from_pretrained("PATH")']
        imports = ["from transformers import AutoModelForCausalLM"]
    else:
        imports = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
        ]
        load = [
            f'base = AutoModelForCausalLM.from_pretrained("{_shown_base(facts.base_model)}")',
            'model = PeftModel.from_pretrained(base, "PATH")',
        ]
    return ["```python", *imports, "", *load, "```"]


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _shown_base(name: str) -> str:
    """A directory by its own name: where it stood on somebody's machine is nobody's business."""
    return name if _is_hub_id(name) else os.path.basename(name.rstrip("/"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
