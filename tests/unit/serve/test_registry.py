"""Versions count up and stand for one content for ever; nothing stands in for the base."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from serve.registry import Registry, resolve
from serve.versions import Versions

BASE_NAMES = ["tiny", "tiny-01234567"]


def load(registry: Registry, name: str, digest: str) -> str:
    full = registry.reserve(name, digest)
    registry.publish(full)
    return full


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans())))
def test_a_version_stands_for_one_content_for_ever(steps: list[tuple[str, str, bool]]) -> None:
    registry, contents = Registry(BASE_NAMES), {}
    for name, digest, then_removed in steps:
        try:
            full = load(registry, name, digest)
        except RefusedAdapter:
            newest = resolve(name, list(registry.digests()), BASE_NAMES)
            assert registry.digests()[newest] == digest
            continue
        assert contents.setdefault(full, digest) == digest
        if then_removed:
            registry.remove(full)
    for name in "abc":
        versions = [int(full.split("@")[1]) for full in contents if full.startswith(name)]
        assert versions == list(range(1, len(versions) + 1))


def test_a_given_version_is_kept_and_counted_on() -> None:
    registry = Registry(BASE_NAMES)
    assert load(registry, "honest@10", "x") == "honest@10"
    assert load(registry, "honest", "y") == "honest@11"
    assert load(registry, "honest@2", "z") == "honest@2"
    assert registry.digests() == {"honest@10": "x", "honest@11": "y", "honest@2": "z"}
    with pytest.raises(RefusedAdapter, match="version 10 of honest was already used"):
        registry.reserve("honest@10", "other")
    with pytest.raises(RefusedAdapter, match="already loaded with this content, as honest@11"):
        registry.reserve("honest", "y")
    assert load(registry, "honest", "x") == "honest@12"  # an older content is a new version


def test_what_is_reserved_is_not_loaded() -> None:
    registry = Registry(BASE_NAMES)
    registry.reserve("honest", "broken")
    assert registry.digests() == {}
    assert load(registry, "honest", "mended") == "honest@2"


def test_a_bare_name_is_unloaded_with_all_its_versions() -> None:
    registry = Registry(BASE_NAMES)
    for name, digest in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4")]:
        load(registry, name, digest)
    assert registry.remove("a@2") == ["a@2"]
    assert registry.remove("a") == ["a@1", "a@3"]
    with pytest.raises(UnknownAdapter, match="base, b@1"):
        registry.remove("a")
    with pytest.raises(RefusedAdapter, match="base cannot be unloaded"):
        registry.remove("tiny")
    assert load(registry, "a", "5") == "a@4"


def test_the_newest_version_is_unloaded_as_latest() -> None:
    registry = Registry(BASE_NAMES)
    for name, digest in [("a@9", "1"), ("a@10", "2"), ("b", "3")]:
        load(registry, name, digest)
    assert registry.remove("a@latest") == ["a@10"]
    assert registry.remove("a@latest") == ["a@9"]
    with pytest.raises(UnknownAdapter, match="base, b@1"):
        registry.remove("a@latest")
    for name in ("@latest", "base@latest"):
        with pytest.raises(UnknownAdapter):
            registry.remove(name)


def test_a_version_can_follow_the_highest_that_may_be_asked_for() -> None:
    registry = Registry(BASE_NAMES)
    assert load(registry, "a@99999999", "1") == "a@99999999"
    assert load(registry, "a", "2") == "a@100000000"


@pytest.mark.parametrize("name", ["base", "base@2", "tiny", "tiny-01234567@1"])
def test_the_base_is_never_replaced(name: str) -> None:
    with pytest.raises(RefusedAdapter, match="base model"):
        Registry(BASE_NAMES).reserve(name, "x")


@pytest.mark.parametrize(
    "name",
    ["", "two words", "a@b", "a@1@2", "@1", "a@-1", "a@latest", "a\n", "a\0", "x" * 257,
             "a@0", "a@01", "a@100000000"],
)  # fmt: skip
def test_what_is_not_a_name(name: str) -> None:
    with pytest.raises(RefusedAdapter, match="is not a name"):
        Registry(BASE_NAMES).reserve(name, "x")


def test_a_bare_name_is_its_newest_version() -> None:
    loaded = ["base", "honest@9", "honest@10", "runs/x/step-1@1"]
    assert resolve("honest", loaded, BASE_NAMES) == "honest@10"
    assert resolve("honest@latest", loaded, BASE_NAMES) == "honest@10"
    assert resolve("honest@9", loaded, BASE_NAMES) == "honest@9"
    assert resolve("runs/x/step-1", loaded, BASE_NAMES) == "runs/x/step-1@1"
    for name in ("base", *BASE_NAMES):
        assert resolve(name, loaded, BASE_NAMES) == "base"
    for name in ("honest@11", "hones", "", "@1", "base@1", "@latest", "honest@latest@latest"):
        with pytest.raises(UnknownAdapter, match="honest@10"):
            resolve(name, loaded, BASE_NAMES)


@pytest.mark.parametrize("name", ["honest", "runs/x/step-1", "..", "%2F", "é" * 256])
def test_versions_count_on_after_a_restart(tmp_path: Path, name: str) -> None:
    first = Versions(str(tmp_path))
    assert first.write(f"{name}@1", "x")
    assert first.write(f"{name}@2", "y")
    assert {file.parent for file in tmp_path.rglob("*.*")} == {tmp_path / "serving/versions"}
    registry = Registry(BASE_NAMES, Versions(str(tmp_path)).read())
    assert registry.reserve(name, "y") == f"{name}@2"  # the same content keeps its version
    assert registry.reserve(name, "z") == f"{name}@3"


def test_two_servers_on_one_root_never_share_a_version(tmp_path: Path) -> None:
    one, other = Versions(str(tmp_path)), Versions(str(tmp_path))
    assert one.write("a@1", "x")
    assert not other.write("a@1", "y")
    assert other.write("a@1", "x")
