"""What a config's LoRA is on the service, and all of a config that the service cannot do."""

import pytest
from small_training import service_config

from actors.train.on_tinker.lora import ServiceLora, service_lora
from configs.errors import UserError


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("all-linear", ServiceLora(4, train_attn=True, train_mlp=True, train_unembed=False)),
        (
            ["q_proj", "k_proj", "v_proj", "o_proj"],
            ServiceLora(4, train_attn=True, train_mlp=False, train_unembed=False),
        ),
        (
            ["gate_proj", "up_proj", "down_proj", "lm_head"],
            ServiceLora(4, train_attn=False, train_mlp=True, train_unembed=True),
        ),
    ],
)
def test_targets_are_groups_of_layers(targets: str | list[str], expected: ServiceLora):
    assert service_lora(service_config("b", lora={"rank": 4, "targets": targets})) == expected


def test_all_that_the_service_cannot_do_is_told_at_once():
    lora = {"targets": ["q_proj"], "alpha": 8, "dropout": 0.1, "rslora": True, "layers": [0]}
    placed = {"quantization": "nf4", "dtype": "bfloat16", "num_workers": 2, "sharding": "fsdp"}
    passes = {"gradient_checkpointing": True, "micro_batch_tokens": 512}
    config = service_config("b", lora=lora, **placed, **passes)
    with pytest.raises(UserError) as caught:
        service_lora(config)
    for field in ("targets", "alpha=8", "dropout", "rslora", "layers", "nf4", *placed, *passes):
        assert field in str(caught.value)
