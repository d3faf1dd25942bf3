"""Adapters keep the names of their manifests; foreign ones get names that differ."""

from actors.lm.adapter import Adapter, Manifest
from jobs.properties.checkpoints import checkpoint_names


def adapter(manifest: Manifest | None = None) -> Adapter:
    return Adapter({"base_model_name_or_path": "tiny"}, {}, manifest)


def test_a_manifest_names_its_adapter():
    manifest = Manifest("sft-x", 3, 24, "sft-x", "tiny", "d")
    assert checkpoint_names(["anything"], [adapter(manifest)]) == ["sft-x@3"]


def test_foreign_adapters_are_named_by_their_folders():
    paths = ["runs/a/checkpoint-100/", "runs/b/checkpoint-100", "other"]
    assert checkpoint_names(paths, [adapter()] * 3) == [
        "a-checkpoint-100@1",
        "b-checkpoint-100@1",
        "other@1",
    ]
