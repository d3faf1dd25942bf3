"""What `--help` says of a field."""

import pytest

from configs.grpo import GrpoConfig
from jobs.catalog import Job
from jobs.help import print_fields


def test_a_field_s_other_name_stands_in_its_line(capsys: pytest.CaptureFixture[str]):
    print_fields(Job("grpo", "", "", ""), GrpoConfig)
    rows = capsys.readouterr().out.split("\n base_model ")
    told, *_ = rows[1].split("\n learning_rate ")
    assert "also model_name=" in " ".join(told.split())
