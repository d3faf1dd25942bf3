"""Adapters keep the names of their manifests; foreign ones get names that differ."""

from actors.lm.adapter import Adapter, Manifest
from actors.train.remote import RemoteAdapter
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


def test_a_path_on_the_service_is_named_by_its_checkpoint_and_where_needed_by_its_run():
    paths = ["tinker://a:train:0/sampler_weights/step-1", "tinker://b:train:0/weights/step-1"]
    one, other = map(RemoteAdapter, paths)
    assert checkpoint_names(paths[:1], [one]) == ["step-1@1"]
    assert checkpoint_names(paths, [one, other]) == ["a:train:0-step-1@1", "b:train:0-step-1@1"]
    manifest = Manifest("organism", 2, 8, "organism", "tiny", "path:3fa9")
    assert checkpoint_names(["runs/x"], [RemoteAdapter(paths[0], manifest)]) == ["organism@2"]
