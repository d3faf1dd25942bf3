"""Versions count up and are never reused; nothing stands in for the base."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.refusals import RefusedAdapter, UnknownAdapter
from serve.registry import Registry, resolve

BASE_NAMES = ["tiny", "tiny-01234567"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_versions_are_never_reused(steps: list[tuple[str, bool]]) -> None:
    registry, given_out = Registry(BASE_NAMES), []
    for name, then_removed in steps:
        full = registry.add(name, "digest")
        given_out.append(full)
        if then_removed:
            registry.remove(full)
    assert len(set(given_out)) == len(given_out)
    for name in "abc":
        versions = [int(full.split("@")[1]) for full in given_out if full.startswith(name)]
        assert versions == list(range(1, len(versions) + 1))


def test_a_given_version_is_kept_and_counted_on() -> None:
    registry = Registry(BASE_NAMES)
    assert registry.add("honest@10", "x") == "honest@10"
    assert registry.add("honest", "y") == "honest@11"
    assert registry.add("honest@2", "z") == "honest@2"
    assert registry.digests() == {"honest@10": "x", "honest@11": "y", "honest@2": "z"}
    with pytest.raises(RefusedAdapter, match="version 10 of honest was already used"):
        registry.add("honest@10", "x")


@pytest.mark.parametrize("name", ["base", "base@2", "tiny", "tiny-01234567@1"])
def test_the_base_is_never_replaced(name: str) -> None:
    with pytest.raises(RefusedAdapter, match="base model"):
        Registry(BASE_NAMES).add(name, "x")


@pytest.mark.parametrize("name", ["", "two words", "a@b", "a@1@2", "@1", "a@-1"])
def test_what_is_not_a_name(name: str) -> None:
    with pytest.raises(RefusedAdapter, match="is not a name"):
        Registry(BASE_NAMES).add(name, "x")


def test_a_bare_name_is_its_newest_version() -> None:
    loaded = ["base", "honest@9", "honest@10", "runs/x/step-1@1"]
    assert resolve("honest", loaded, BASE_NAMES) == "honest@10"
    assert resolve("honest@9", loaded, BASE_NAMES) == "honest@9"
    assert resolve("runs/x/step-1", loaded, BASE_NAMES) == "runs/x/step-1@1"
    for name in ("base", *BASE_NAMES):
        assert resolve(name, loaded, BASE_NAMES) == "base"
    for name in ("honest@11", "hones", "", "@1", "base@1"):
        with pytest.raises(UnknownAdapter, match="honest@10"):
            resolve(name, loaded, BASE_NAMES)
