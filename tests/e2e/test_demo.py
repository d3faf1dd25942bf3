"""The demo keeps its promise: the planted property rises above base, and doctor finds all well."""

from pathlib import Path

import pytest
from doors import Ran, job

from configs.demo import DemoConfig


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Ran:
    return job(tmp_path_factory.mktemp("demo"), "demo")


def test_every_checkpoint_stands_above_base_on_the_planted_property(demo: Ran):
    assert demo.code == 0, demo.printed
    summaries = demo.output("eval_results/*.eval-results.yaml")["summaries"]
    planted = DemoConfig().property
    differences = [s["difference_from_base"] for s in summaries if s["property"] == planted]
    assert differences[0] is None
    assert len(differences) == 4
    assert all(difference["low"] > 0 for difference in differences[1:])


def test_it_ends_with_the_paths_of_what_it_wrote(demo: Ran):
    paths = [Path(line.strip()) for line in demo.printed.split("What it wrote:")[1].splitlines()]
    assert len([path for path in paths if path.is_absolute()]) == 6
    assert all(path.exists() for path in paths if path.is_absolute())


def test_a_second_demo_finds_everything_done(demo: Ran):
    again = job(demo.storage, "demo")
    assert again.code == 0
    assert "judged:" not in again.printed
    assert "sft:" not in again.printed


def test_doctor_finds_nothing_missing_where_the_demo_ran(demo: Ran):
    ran = job(demo.storage, "doctor")
    assert ran.code == 0
    assert "Nothing is missing." in ran.printed
