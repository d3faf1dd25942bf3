"""Jobs on the pool: what they say of cost, how budgets and failures end them, how they go on."""

from pathlib import Path

import pytest
import yaml
from doors import Ran, job
from pool_endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("ray_cluster")

CALLS = 1 + 2 + 2 * 5


def generate(storage: Path, endpoint: Endpoint, *arguments: str) -> Ran:
    return job(
        storage,
        *("generate", "property=honest", f"provider={endpoint.url}", "model=rules", "run_id=r"),
        *("num_subtypes=2", "num_prompts=5", "pool.max_attempts=2"),
        *arguments,
    )


def test_the_estimate_comes_first_and_the_cost_is_that_of_the_books(
    tmp_path: Path, endpoint: Endpoint
):
    endpoint.faults(cost_usd=0.01)
    ran = generate(tmp_path, endpoint)
    assert ran.code == 0, ran.printed
    lines = ran.printed.splitlines()
    said = [line for line in lines if line.startswith("estimate: ")]
    assert said == [f"estimate: {CALLS} calls, about $0.13; $0.13 with the longest answers"]
    assert lines.index(said[0]) < next(i for i, v in enumerate(lines) if v.startswith("subtypes"))
    billed_usd = endpoint.counts()["billed"]["cost_usd"]
    assert billed_usd == pytest.approx(CALLS * 0.01)
    assert ran.output("datasets/*.examples.yaml")["cost_usd"] == pytest.approx(billed_usd)


def test_a_budget_ends_the_run_with_code_3_and_a_larger_one_goes_on(
    tmp_path: Path, endpoint: Endpoint
):
    endpoint.faults(cost_usd=0.01)
    ran = generate(tmp_path, endpoint, "budget_usd=0.09")
    assert ran.code == 3, ran.printed
    assert "examples: 6 of 10 calls are stored; the run has cost $0.0900" in ran.printed
    assert "larger budget_usd" in ran.printed
    assert endpoint.counts()["asked"] == 9
    again = generate(tmp_path, endpoint, "budget_usd=9")
    assert again.code == 0, again.printed
    assert endpoint.counts()["asked"] == CALLS
    assert again.output("datasets/*.examples.yaml")["cost_usd"] == pytest.approx(CALLS * 0.01)


def test_a_budget_needs_prices(tmp_path: Path, endpoint: Endpoint):
    ran = generate(tmp_path, endpoint, "budget_usd=1", "model=unlisted")
    assert ran.code == 2
    assert "pool.prompt_usd_per_million" in ran.printed
    assert "pool.completion_usd_per_million" in ran.printed
    assert endpoint.counts()["asked"] == 0


def test_on_error_stop_ends_with_the_failure(tmp_path: Path, endpoint: Endpoint):
    endpoint.faults(first=["none", "not_found"])
    ran = generate(tmp_path, endpoint, "on_error=stop")
    assert ran.code == 1
    assert "No endpoints found" in ran.printed
    assert not list(tmp_path.glob("datasets/*.examples.yaml"))


def test_gen_eval_tells_its_cost_too(tmp_path: Path, endpoint: Endpoint):
    endpoint.faults(cost_usd=0.01)
    ran = job(
        tmp_path,
        *("gen_eval", "properties=[honest]", f"provider={endpoint.url}", "model=rules"),
        *("num_categories=2", "num_prompts=2"),
    )
    assert ran.code == 0, ran.printed
    assert "estimate: 3 calls, about $0.03; $0.03 with the longest answers" in ran.printed
    written = yaml.safe_load(ran.path("evals/*.eval.yaml").read_text())
    assert written["cost_usd"] == pytest.approx(0.03)


def test_a_run_is_replayed_without_the_endpoint(tmp_path: Path, endpoint: Endpoint):
    first = generate(tmp_path, endpoint)
    assert first.code == 0, first.printed
    asked = endpoint.counts()["asked"]
    again = job(
        tmp_path,
        *("generate", "property=honest", "provider=replay", "model=rules", "run_id=again"),
        *("num_subtypes=2", "num_prompts=5", "budget_usd=1"),
    )
    assert again.code == 0, again.printed
    assert "replayed from" in again.printed
    assert endpoint.counts()["asked"] == asked
    examples = first.output("datasets/r.examples.yaml")["examples"]
    assert again.output("datasets/again.examples.yaml")["examples"] == examples
