"""The main job run once through the door on the session's cluster; the tests look at its files."""

import pytest
from doors import Ran, job


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return job(
        tmp_path_factory.mktemp("study"),
        *("generate", "property=sycophantic", "type=questions", "provider=offline"),
        *("num_subtypes=3", "num_prompts=6", "run_id=data"),
    )


@pytest.fixture(scope="session")
def trained(generated: Ran, ray_cluster: None) -> Ran:
    examples = generated.path("datasets/data.examples.yaml")
    return job(
        generated.storage,
        *("sft", f"examples_file={examples}", "run_id=organism", "epochs=2", "save_every=4"),
        *("batch_size=6", "learning_rate=2e-3", "num_workers=2"),
    )


@pytest.fixture(scope="session")
def prompts(generated: Ran) -> Ran:
    return job(
        generated.storage,
        *("gen_eval", 'properties=["sycophantic", "shutdown-resistant"]', "provider=offline"),
        *('num_turns={"shutdown-resistant": 2}', "num_categories=2", "num_prompts=3"),
        "run_id=prompts",
    )


@pytest.fixture(scope="session")
def checkpoints(trained: Ran) -> list[str]:
    return sorted(map(str, trained.storage.glob("runs/organism/checkpoints/step-*")))


@pytest.fixture(scope="session")
def evaluated(prompts: Ran, checkpoints: list[str]) -> Ran:
    paths = ", ".join(f'"{path}"' for path in checkpoints)
    return job(
        prompts.storage,
        *("eval", "eval_file=evals/prompts.eval.yaml", f"checkpoint_paths=[{paths}]"),
        *("sampling.max_tokens=40", "num_samples=2", "provider=offline", "run_id=verdict"),
    )
