"""The door: exit codes and messages of a process, as a user meets them."""

import os
import subprocess
import sys

import pytest
import yaml


def door(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_without_a_job_it_lists_them():
    result = door()
    assert result.returncode == 0
    for name in ("generate", "sft", "gen_eval", "eval", "serve", "demo", "doctor", "bench"):
        assert name in result.stdout


def test_help_lists_every_field_within_the_width():
    result = door("eval", "--help")
    assert result.returncode == 0
    assert "sampling.temperature" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_a_reader_that_has_enough_is_no_stack_trace():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jobs", "eval", "--help"]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    told = "eval: nobody reads what it prints any more.\n"
    assert (result.returncode, result.stderr) == (141, told)


def test_dry_run_prints_a_config_that_a_config_file_can_be(tmp_path):
    result = door("generate", "property=honest", "num_prompts=2", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0
    assert yaml.safe_load(result.stdout)["num_prompts"] == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["genrate"], 'Did you mean "generate"?'),
        (["generate", "propety=x"], 'Did you mean "property"?'),
        (["generate", "property=x", "num_prompts=many"], '"num_prompts"'),
        (["generate", "property=x", "params_file=absent.yaml"], "absent.yaml: no such file"),
        (["eval", "eval_file=absent.yaml"], "absent.yaml: no such file"),
        (["gen_eval", 'properties=["a"]', 'num_turns={"b": 2}'], "num_turns"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path, arguments, message):
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    result = door(*arguments, cwd=tmp_path, env=environment)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
