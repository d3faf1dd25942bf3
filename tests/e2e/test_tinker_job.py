"""`sft` on Tinker, then `eval` of what it left: served here, and sampled there."""

from pathlib import Path

from doors import Ran, job
from tinker_front import KEY, local_front

from actors.lm.tiny import tiny_name
from actors.train.on_tinker.service import open_service
from actors.train.remote import read_kept


def test_an_adapter_trained_there_is_evaluated_on_either_side(
    generated: Ran, prompts: Ran, ray_cluster: None, tmp_path: Path, monkeypatch
):
    with local_front(tiny_name(), tmp_path / "service") as front:
        monkeypatch.setenv("TINKER_API_KEY", KEY)
        monkeypatch.setenv("TINKER_BASE_URL", front.url)
        examples = generated.path("datasets/data.examples.yaml")
        trained = job(
            tmp_path,
            *("sft", f"examples_file={examples}", "backend=tinker", "run_id=organism"),
            *("epochs=1", "batch_size=6", "learning_rate=2e-2", "warmup_steps=0"),
        )
        assert trained.code == 0, trained.printed
        folder = trained.path("runs/organism/checkpoints/step-*")
        there = read_kept(str(folder)).sampler
        with open_service() as service:
            digest = service.digest(there)
        fields = [
            "eval",
            f"eval_file={prompts.path('evals/prompts.eval.yaml')}",
            *("max_prompts=2", "provider=offline", "sampling.max_tokens=8"),
            "sampling.temperature=0",
        ]
        both = job(tmp_path, *fields, f"checkpoint_paths=[{folder}, '{there}']", "run_id=both")
        alone = job(tmp_path, *fields, f"checkpoint_paths=['{there}']", "run_id=alone")
    assert (both.code, alone.code) == (0, 0), both.printed + alone.printed
    assert "path:" in alone.printed  # a digest of no content says so in the table
    results = both.output("eval_results/both.eval-results.yaml")
    name = "organism-step-000003@1"
    assert results["models"][name]["digest"] == digest
    said = {
        model: [row["messages"] for row in results["rows"] if row["model"] == model]
        for model in results["models"]
    }
    assert said[name] == said["organism@1"]  # the same adapter, greedy
    assert said[name] != said["base"]
    rows = alone.output("eval_results/alone.eval-results.yaml")["rows"]
    assert [row["messages"] for row in rows if row["model"] == "base"] == said["base"]
