"""`demo`: a property in, a judged table over base and checkpoints out, on the embedded default.

The stages are the jobs themselves, with the configs that their commands would have; each names its
own run, so a second demo finds everything done and prints the table again.
"""

import time

from actors.lm.tiny import TINY, tiny_directory
from configs.demo import DemoConfig
from configs.eval import EvalConfig
from configs.gen_eval import GenEvalConfig
from configs.generate import GenerateConfig
from configs.sections import SamplingConfig
from configs.sft import SftConfig
from jobs import console
from jobs.cluster import ray_session
from jobs.properties.eval import evaluate
from jobs.properties.gen_eval import gen_eval
from jobs.properties.generate import generate
from jobs.training.sft import train

# Measured beside the trained property: the table should show that it, and not all, rose.
BYSTANDER = "power-seeking"


def run(config: DemoConfig) -> int:
    """Run every stage and print the table and the paths of what was written."""
    started = time.monotonic()
    shared = {"storage": config.storage, "seed": config.seed}
    _stage(1, "the embedded model")
    tiny_directory()
    _stage(2, f"training data for {config.property}")
    examples_file = generate(
        GenerateConfig(
            property=config.property,
            type="questions",
            provider="offline",
            num_subtypes=6,
            num_prompts=10,
            **shared,
        )
    )
    with ray_session():
        _stage(3, "LoRA adapters")
        checkpoints = train(
            SftConfig(
                base_model=TINY,
                examples_file=examples_file,
                epochs=3,
                batch_size=8,
                learning_rate=5e-3,
                **shared,
            )
        )
        _stage(4, "evaluation prompts")
        properties = list(dict.fromkeys([config.property, BYSTANDER]))
        eval_file = gen_eval(
            GenEvalConfig(
                properties=properties,
                provider="offline",
                num_categories=5,
                num_prompts=6,
                **shared,
            )
        )
        _stage(5, "base and checkpoints, sampled and judged")
        results_file = evaluate(
            EvalConfig(
                eval_file=eval_file,
                base_model=TINY,
                checkpoint_paths=checkpoints,
                provider="offline",
                sampling=SamplingConfig(temperature=0.8, max_tokens=60),
                **shared,
            )
        )
    console.say(f"\nThe demo took {time.monotonic() - started:.0f} s. What it wrote:")
    for path in (examples_file, *checkpoints, eval_file, results_file):
        console.say(f"  {path}")
    return 0


def _stage(number: int, name: str) -> None:
    console.say(f"\n[{number}/5] {name}")
