"""On a GPU: a model of Llama-3.2-1B's shape in bfloat16, beside peft and a plain loop. No Ray."""

from jobs.bench.figures import Figure, Group, Reach, Skipped, Trial
from jobs.bench.model import LLAMA_1B
from jobs.bench.sft.flops import Weights, operations, peak_per_s
from jobs.bench.sft.place import Place

_BATCH, _STEPS = 64, 10
_MICRO_BATCH_TOKENS = 16_384
_RANK = 16


def _measure(place: Place) -> Trial:
    place.needs("cuda")
    import torch

    if not torch.cuda.is_available():
        raise Skipped("no GPU is visible here")
    name = torch.cuda.get_device_name()
    peak = peak_per_s(name)
    if peak is None:
        raise Skipped(f"what a {name} can do is not known to jobs/bench/sft/flops.py")
    work = place.work(_BATCH * _STEPS, _BATCH).model_copy(
        update={"micro_batch_tokens": _MICRO_BATCH_TOKENS}
    )
    ours, peer = place.measured("ours", work), place.measured("plain", work)
    done = operations(llama_weights(), work.lengths, work.targets)
    values = {"mfu": done / ours.wall_s / peak, "plain": peer.wall_s / ours.wall_s}
    said = (
        f"{name}: {work.tokens / ours.wall_s:.0f} tokens/s, {ours.peak_mb:.0f} MB; "
        f"peft {work.tokens / peer.wall_s:.0f}, {peer.peak_mb:.0f} MB"
    )
    return Trial(values, said)


def llama_weights() -> Weights:
    """Of the model that is measured, and of its adapter on all seven projections."""
    shape = LLAMA_1B
    assert shape.kv_heads is not None
    assert shape.inner is not None
    key_value = shape.hidden // shape.heads * shape.kv_heads
    sizes = [
        *[(shape.hidden, shape.hidden)] * 2,  # queries, output
        *[(shape.hidden, key_value)] * 2,
        *[(shape.hidden, shape.inner)] * 3,
    ]
    return Weights(
        body=shape.layers * sum(a * b for a, b in sizes),
        head=shape.hidden * shape.vocabulary,
        adapter=shape.layers * sum(_RANK * (a + b) for a, b in sizes),
        attention=shape.layers * shape.hidden,
    )


GROUPS = (
    Group(
        (
            Figure(
                "mfu", "share of the GPU's operations: 1B shape, bf16, rank 16", Reach(">=", 0.4)
            ),
            Figure("plain", "tokens per s / peft and a plain loop: the same"),
        ),
        _measure,
    ),
)
