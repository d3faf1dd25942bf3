"""What `--help` says of a field."""

import pytest

from configs.grpo import GrpoConfig
from jobs.catalog import Job
from jobs.help import print_fields


def test_a_field_s_other_name_stands_in_its_line(capsys: pytest.CaptureFixture[str]):
    print_fields(Job("grpo", "", "", ""), GrpoConfig)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.lstrip().startswith("base_model")]
    assert "; also model_name=" in line
    assert sum("; also " in line for line in lines) == 1
