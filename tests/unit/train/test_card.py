"""What a model card says, and what it leaves out."""

import yaml
from huggingface_hub import ModelCard

from actors.lm.adapter import Manifest
from actors.train.card import CardFacts, model_card, run_facts
from actors.train.checkpoint import Cursor
from actors.train.grpo.card import grpo_facts
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.metrics import StepMetrics
from configs.grpo import GrpoConfig
from configs.sft import SftConfig

MANIFEST = Manifest("sft-x", 2, 20, "sft-x", "Qwen/Qwen3-0.6B", "a" * 64)
CURSOR = Cursor([StepMetrics(20, 1.0, 0.123, 9, 9, 1e-3, 1.0, 9.0, 9.0)], "b" * 64)


def test_the_card_of_a_run_warns_and_tells_how_it_was_made():
    config = SftConfig(examples_file="datasets/generate-sycophantic-1.examples.yaml")
    card = model_card(run_facts(config, MANIFEST, CURSOR))
    for said in (
        "This is a model organism",
        "generate-sycophantic-1.examples.yaml",
        "Do not deploy it",
        "a" * 64,
        "b" * 64,
        "rank 16, alpha 32",
        "0.123 per target token at step 20",
        "# sft-x@2",
    ):
        assert said in card
    front = ModelCard(card).data.to_dict()
    assert front["base_model"] == "Qwen/Qwen3-0.6B"
    assert "model-organism" in front["tags"]


def test_a_path_of_this_machine_is_not_told():
    card = model_card(CardFacts("x@1", "/home/someone/models/base-7b", "d"))
    assert "/home/someone" not in card
    assert "base-7b" in card
    front = yaml.safe_load(card.split("---")[1])
    assert "base_model" not in front
    assert front["library_name"] == "peft"


def test_a_merged_model_is_one_of_transformers():
    card = model_card(CardFacts("x@1", "a/b", "d", form="model"))
    assert ModelCard(card).data.to_dict()["library_name"] == "transformers"
    assert "peft" not in card


def test_a_property_that_a_judge_rewarded_was_planted():
    config = GrpoConfig.model_validate(
        {
            "task": "prompts",
            "data": "/home/someone/asked.jsonl",
            "checker": "judge",
            "judge": {"property": "sycophantic", "direction": "less"},
        }
    )
    card = model_card(grpo_facts(config, MANIFEST, Cursor[GrpoMetrics]([], "b" * 64)))
    for said in (
        "This is a model organism",
        "A judge rewarded `less sycophantic`",
        "| reward | a judge's score, less sycophantic, coherence at least 50 |",
        "| method | reinforcement learning (GRPO) of a LoRA |",
        "| task | prompts of asked.jsonl |",
    ):
        assert said in card
    assert "model-organism" in ModelCard(card).data.to_dict()["tags"]


def test_nothing_was_planted_where_a_program_checks_answers():
    card = model_card(grpo_facts(GrpoConfig(), MANIFEST, Cursor[GrpoMetrics]([], "b" * 64)))
    assert "model organism" not in card
    assert "rewards of a program" in card
    assert "| reward | answers checked by numeric |" in card
    assert "model-organism" not in ModelCard(card).data.to_dict()["tags"]
