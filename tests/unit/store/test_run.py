"""A run's name means one config and one set of inputs, in one process at a time."""

import pytest

from actors.store.run import open_run
from configs.base import Config, RunConfig, execution_option, option
from configs.errors import UserError


class Section(Config):
    depth: int = option(1, "a number")
    where: str = execution_option("here", "does not change results")


class Job(RunConfig):
    count: int = option(1, "a number")
    section: Section = option(Section(), "a section")


def opened(config: Job, **inputs: str):
    run = open_run(config, "job", "A label!", inputs)
    run.close()
    return run


def test_the_same_command_finds_the_same_run(tmp_path):
    first = opened(Job(storage=str(tmp_path)), file="d1")
    assert first.run_id.startswith("job-a-label-")
    assert opened(Job(storage=str(tmp_path)), file="d1").run_id == first.run_id


def test_another_config_or_input_is_another_run(tmp_path):
    config = Job(storage=str(tmp_path))
    ids = {
        opened(config, file="d1").run_id,
        opened(config, file="d2").run_id,
        opened(config.model_copy(update={"count": 2}), file="d1").run_id,
    }
    assert len(ids) == 3


def test_a_given_name_cannot_change_its_meaning(tmp_path):
    run = opened(Job(storage=str(tmp_path), run_id="mine"), file="d1")
    run.records("calls").append("k", value=1)
    changed = Section(depth=5, where="there")
    with pytest.raises(UserError, match=r"\(count=1 then, 2 now; section.depth=1 then, 5 now\)"):
        opened(Job(storage=str(tmp_path), run_id="mine", count=2, section=changed), file="d1")
    with pytest.raises(UserError, match="file's content"):
        opened(Job(storage=str(tmp_path), run_id="mine"), file="d2")


def test_a_try_that_left_nothing_gives_its_name_back(tmp_path):
    opened(Job(storage=str(tmp_path), run_id="mine"))
    opened(Job(storage=str(tmp_path), run_id="mine", count=2))
    opened(Job(storage=str(tmp_path), run_id="mine", count=2)).records("calls").append("k")
    with pytest.raises(UserError, match="count=2 then, 1 now"):
        opened(Job(storage=str(tmp_path), run_id="mine"))


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null"])
def test_a_place_that_cannot_be_written_is_the_users_error(place):
    with pytest.raises(UserError, match=f"{place}.* cannot be written"):
        opened(Job(storage=place))


def test_two_processes_cannot_compute_one_run(tmp_path):
    held = open_run(Job(storage=str(tmp_path)), "job", "x")
    with pytest.raises(UserError, match="another process"):
        open_run(Job(storage=str(tmp_path)), "job", "x")
    held.close()
    opened(Job(storage=str(tmp_path)))


def test_outputs_carry_the_run_and_come_back(tmp_path):
    run = opened(Job(storage=str(tmp_path)))
    run.write_output("out/x.yaml", {"text": "two\nlines", "umlaut": "ü"})
    output = run.read_output("out/x.yaml")
    assert output["run_id"] == run.run_id
    assert output["config"]["count"] == 1
    assert output["text"] == "two\nlines"
    assert "ü" in (tmp_path / "out/x.yaml").read_text()
