"""Precedence, casting and the messages of the config loader."""

from pathlib import Path
from typing import ClassVar

import pytest

from configs.base import Config, RunConfig, execution_option, option, result_fields
from configs.errors import UserError
from configs.loader import load_config


class Section(Config):
    depth: int = option(1, "a number")
    ratio: float = execution_option(0.5, "does not change results")


class Example(RunConfig):
    aliases: ClassVar[dict[str, str]] = {"subject": "property", "number": "count"}

    property: str = option("x", "text")
    count: int = option(3, "a number", ge=1)
    names: list[str] = option([], "a list")
    turns: dict[str, int] = option({}, "a mapping")
    maybe: str | None = option(None, "may be absent")
    section: Section = option(Section(), "a section")
    params_file: str | None = execution_option(None, "an earlier run")


def load(*arguments: str) -> Example:
    return load_config(Example, arguments)


def test_defaults_stand_without_arguments():
    assert load() == Example()


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("count=7", "count", 7),
        ("property=12", "property", "12"),
        ("property=a: b", "property", "a: b"),
        ("property=yes", "property", "yes"),
        ('names=["a", "b"]', "names", ["a", "b"]),
        ('turns={"a b": 2}', "turns", {"a b": 2}),
        ("maybe=null", "maybe", None),
        ("run_id=a=b", None, None),
    ],
)
def test_values_are_cast_by_the_type_of_the_field(argument, field, value):
    if field is None:
        with pytest.raises(UserError, match="run_id"):
            load(argument)
    else:
        assert getattr(load(argument), field) == value


def test_dots_reach_into_sections():
    config = load("section.depth=4", "section.ratio=1e-4")
    assert config.section == Section(depth=4, ratio=1e-4)


def test_every_problem_is_told_at_once_with_a_hint():
    with pytest.raises(UserError) as caught:
        load("cuont=1", "count=zero", "section.dept=2", "nonsense", "section.ratio=wide")
    text = str(caught.value)
    assert 'Unknown field "cuont". Did you mean "count"?' in text
    assert 'Unknown field "section.dept". Did you mean "depth"?' in text
    assert '"nonsense" is not of the form key=value' in text
    assert '"count"' in text
    assert '"section.ratio"' in text


def test_precedence_of_files_and_command_line(tmp_path: Path):
    config_file = tmp_path / "c.yaml"
    config_file.write_text("count: 5\nproperty: from-config\n")
    params = tmp_path / "p.yaml"
    params.write_text("config: {count: 8, names: [old], run_id: old, unknown: 1, maybe: old}\n")
    config = load(f"config_file={config_file}", f"params_file={params}", "maybe=new")
    assert (config.count, config.property) == (5, "from-config")
    assert config.names == ["old"]
    assert config.maybe == "new"
    assert config.run_id is None


def test_a_mapping_on_the_command_line_replaces_the_file_s(tmp_path: Path):
    config_file = tmp_path / "c.yaml"
    config_file.write_text("turns: {a: 1}\nsection: {depth: 9}\n")
    config = load(f"config_file={config_file}", "turns={b: 2}", "section.ratio=0.1")
    assert config.turns == {"b": 2}
    assert config.section == Section(depth=9, ratio=0.1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [1", r"c.yaml:\d+: not valid YAML"),
        ("- 1", "c.yaml: holds a list, expected a mapping"),
        ("", "c.yaml: holds nothing, expected a mapping"),
        ("words", "c.yaml: holds a single value, expected a mapping"),
        (None, "no such"),
    ],
)
def test_a_broken_config_file_is_told_with_its_place(tmp_path: Path, content, message):
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load(f"config_file={path}")


def test_execution_options_are_not_part_of_the_results():
    fields = result_fields(load("run_id=a", "storage=/x", "section.ratio=0.1"))
    assert fields == result_fields(load())
    assert "run_id" not in fields
    assert fields["section"] == {"depth": 1}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("count=yes", "truth value"),
        ("section.ratio=.inf", "finite"),
        ("names=a", r"names=\[A, B\]"),
        ("storage=memory://x", "gone when the job ends"),
    ],
)
def test_what_pydantic_would_let_pass_or_say_badly(argument, message):
    with pytest.raises(UserError, match=message):
        load(argument)


def test_a_params_file_is_found_under_the_storage_root(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("config: {count: 8}\n")
    assert load("params_file=p.yaml", f"storage={tmp_path}").count == 8


def test_a_params_file_without_a_config_is_told(tmp_path: Path):
    (tmp_path / "p.yaml").write_text("config: 3\n")
    with pytest.raises(UserError, match=r"p\.yaml: its config is not a mapping"):
        load(f"params_file={tmp_path / 'p.yaml'}")


def test_a_field_may_have_another_name(tmp_path: Path):
    assert load("subject=12", "number=7") == load("property=12", "count=7")
    config_file = tmp_path / "c.yaml"
    config_file.write_text("subject: from-config\nnumber: 5\n")
    config = load(f"config_file={config_file}", "property=given")
    assert (config.property, config.count) == ("given", 5)
    assert load("subject=x", "property=x").property == "x"


def test_two_values_under_the_names_of_one_field_are_told(tmp_path: Path):
    told = "\"subject\" is another name of \"property\", and the two differ: 'a' and 'b'"
    with pytest.raises(UserError, match=f"{told}; give one of them"):
        load("subject=a", "property=b")
    config_file = tmp_path / "c.yaml"
    config_file.write_text("subject: a\nproperty: b\n")
    with pytest.raises(UserError, match=told):
        load(f"config_file={config_file}")


def test_another_name_is_suggested_too():
    with pytest.raises(UserError, match=r'"subjct"\. Did you mean "subject"'):
        load("subjct=a")
