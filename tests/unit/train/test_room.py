"""Whether a base has room is told from its shapes, before its weights are looked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig

from actors.lm.base import load_skeleton
from actors.train.on_torch.room import (
    Host,
    Place,
    bytes_needed,
    check_room,
    load_fault,
    machine_memory,
    room_fault,
)
from configs.errors import UserError
from configs.sft import SftConfig

Config = Callable[..., SftConfig]
GB = 10**9


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shapes of an 8B Llama; there are no weights."""
    folder = tmp_path_factory.mktemp("large")
    config = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    config.save_pretrained(folder)
    return str(folder)


def test_bytes_are_those_of_the_base_and_of_adam(sft_config: Config, large: str):
    skeleton = load_skeleton(large)
    parameters = sum(p.numel() for p in skeleton.parameters())
    assert parameters == 8_030_261_248
    trained: dict[str, object] = {"rank": 16, "targets": ["q_proj", "k_proj"]}
    state = 16 * 32 * 16 * ((4096 + 4096) + (4096 + 1024))

    def needed(world_size: int = 1, **fields: object) -> float:
        return bytes_needed(sft_config(lora=trained, **fields), skeleton, world_size)

    assert needed() == parameters * 4 + state
    assert needed(dtype="bfloat16") == parameters * 2 + state
    whole = 2 * 128_256 * 4096 + 4096  # embeddings, head and the last norm are on every rank
    sharded = whole * 2 + (parameters - whole) / 2
    assert needed(4, dtype="bfloat16", sharding="fsdp") == sharded + state
    assert needed(4, dtype="bfloat16") == needed(1, dtype="bfloat16")
    trained["layers"] = [0, 31]
    assert needed() == parameters * 4 + state / 16
    del trained["layers"]
    embeddings = 2 * 128_256 * 4096
    norms = 65 * 4096
    in_layers = parameters - embeddings - norms
    assert needed(dtype="bfloat16", quantization="nf4") == (
        in_layers / 2 + (embeddings + norms) * 2 + state
    )


def test_what_does_not_fit_is_told_with_numbers_and_mends(sft_config: Config, large: str):
    skeleton = load_skeleton(large)
    fault = room_fault(sft_config(), skeleton, Place(40 * GB, sharing=2, world_size=2))
    assert fault is not None
    assert "8.03 billion parameters in float32" in fault
    assert "32.3 GB in each of 2 training processes, and there are 40.0 GB" in fault
    assert "dtype=bfloat16, or quantization=nf4 on GPUs, or sharding=fsdp" in fault
    assert "fewer num_workers" in fault
    assert room_fault(sft_config(), skeleton, Place(40 * GB, 1, 1)) is None


@pytest.mark.parametrize("fields", [{"quantization": "nf4"}, {"sharding": "fsdp"}])
def test_no_mend_is_named_that_would_be_refused(
    fields: dict[str, str], sft_config: Config, large: str
):
    """4 bits cannot be sharded."""
    config = sft_config(dtype="bfloat16", **fields)
    fault = room_fault(config, load_skeleton(large), Place(2 * GB, 1, 2))
    assert fault is not None
    assert fault.endswith("Give a smaller base.")


def test_a_machine_has_room_for_what_all_of_its_processes_load(sft_config: Config, large: str):
    skeleton = load_skeleton(large)
    wide, host = sft_config(sharding="fsdp"), Host(200 * GB, processes=8)
    assert load_fault(wide, skeleton, host) is None  # what it is stored in is not said
    skeleton.config.dtype = torch.bfloat16
    assert load_fault(wide, skeleton, host) == (
        "is stored in bfloat16; in float32 each of a machine's 8 training processes first loads "
        "all of it, 32.1 GB, and there are 200.0 GB. Give dtype=bfloat16, or fewer "
        "num_workers."
    )
    assert load_fault(wide, skeleton, host._replace(processes=6)) is None
    shared = sft_config(sharding="fsdp", dtype="bfloat16")
    assert load_fault(shared, skeleton, Host(20 * GB, processes=8)) is None


def test_a_run_is_refused_before_it_loads_what_cannot_fit(sft_config: Config, tmp_path: Path):
    # 64 wide layers hold more than any machine that runs tests: 4 TB.
    shapes = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        hidden_size=16_384,
        intermediate_size=262_144,
        num_hidden_layers=64,
        num_attention_heads=128,
    )
    shapes.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=rf"base_model={tmp_path}: 894.40 billion parameters"):
        check_room(sft_config(base_model=str(tmp_path)), torch.device("cpu"))


def test_a_container_has_the_memory_of_its_group():
    def limited(path: str) -> str:
        if path.endswith("memory.max"):
            return "123456789\n"
        raise FileNotFoundError(path)

    assert machine_memory(limited) == 123_456_789
    assert machine_memory(lambda path: "max\n") > GB
