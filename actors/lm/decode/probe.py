"""Whether a base can be run step by step, found out with a few small forward passes.

The step's attention stands in for transformers' own, so it must know all that a layer does there.
What it does not know is refused by name before the first request, never computed differently; as
a model may also do what no option tells of, a short text is read in steps and its logits compared.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from actors.lm.decode.attention import StepAttention, step_logits
from actors.lm.decode.cells import CellBook
from actors.lm.decode.memory import CacheMemory, CacheShape
from actors.lm.decode.parts import Stretch
from configs.errors import UserError

# Options of a layer's attention that mean nothing here: there is no training and no padding.
_HARMLESS = {
    "dropout", "is_causal", "position_ids", "use_cache", "cache_position", "output_attentions",
}  # fmt: skip
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
# These change the keys of all rows when one of them grows long.
_UNSTEADY_ROPES = {"dynamic", "longrope"}
_MOST_ERROR = 0.1  # rounding makes 1e-6 of it in float32 and 0.01 in bfloat16


@dataclass
class _Layer:
    shape: CacheShape
    window: int | None


@dataclass
class _Probe:
    """Attends to nothing; notes what every layer asks for."""

    layers: dict[int, _Layer] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor,
        scaling: float | None = None, sliding_window: int | None = None, **options: Any,
    ) -> Tensor:  # fmt: skip
        _, heads, tokens, key_dim = key.shape
        shape = CacheShape(0, heads, key_dim, value.shape[-1], key.dtype, key.device)
        self.layers[module.layer_idx] = _Layer(shape, sliding_window)  # type: ignore[index]
        self.unknown |= {
            name
            for name, value in options.items()
            if name not in _HARMLESS and value is not None and value is not False
        }
        return value.new_zeros(1, tokens, query.shape[1], value.shape[-1])


@torch.inference_mode()
def cache_shape(model: PreTrainedModel) -> CacheShape:
    """What a model's cache holds; UserError when the model cannot be run step by step."""
    config = model.config.get_text_config()
    kind = config.model_type
    probe = _Probe()
    if fault := _fault_of(config):
        raise _refusal(kind, fault)
    if not model._supports_attention_backend:
        raise _refusal(kind, "its attention cannot be replaced (no attention backend)")
    try:
        step_logits(model, [0, 0], [0, 1], [0], probe)
    except (TypeError, KeyError, AttributeError) as error:
        raise _refusal(kind, f"it cannot be run on packed tokens ({error})") from error
    if probe.unknown:
        raise _refusal(kind, f"its attention uses {', '.join(sorted(probe.unknown))}")
    if sorted(probe.layers) != list(range(config.num_hidden_layers)):
        raise _refusal(kind, "not all of its layers are plain attention")
    if any(layer.window != _window(config, i) for i, layer in probe.layers.items()):
        raise _refusal(kind, "its layers do not say their sliding window")
    shape, *others = {layer.shape for layer in probe.layers.values()}
    if others:
        raise _refusal(kind, "its layers keep keys of different shapes")
    shape = replace(shape, layers=len(probe.layers))
    if (error := _error_of_steps(model, shape)) > _MOST_ERROR:
        raise _refusal(kind, f"read in steps, a text gets other logits (by {error:.0%})")
    return shape


def _error_of_steps(model: PreTrainedModel, shape: CacheShape) -> float:
    """How far the logits after a text that is read in steps are from the model's own."""
    ids = [i % model.config.get_text_config().vocab_size for i in range(1, 13)]
    book, memory = CellBook(64), CacheMemory(shape, 1)
    cell = book.place(len(ids))
    assert cell is not None
    memory.follow(book)
    logits = torch.empty(0)
    for start, end in ((0, 7), (7, 11), (11, 12)):  # a beginning, a later chunk, a single token
        step = StepAttention(memory, [Stretch(cell, 0, end - start, start)], {cell.length: 1})
        places = range(start, end)
        logits = step_logits(model, ids[start:end], places, [end - start - 1], step)[0].float()
    own = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
    wanted = own.logits[0, -1].float()
    return ((logits - wanted).norm() / (wanted - wanted.mean()).norm()).item()


def _fault_of(config: PreTrainedConfig) -> str | None:
    layers = set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    if layers:
        return f"it has layers of type {', '.join(sorted(layers))}"
    ropes = {str(value) for value in _values(getattr(config, "rope_parameters", None), "rope_type")}
    if ropes & _UNSTEADY_ROPES:
        return f"its positions depend on the longest row (rope_type {', '.join(sorted(ropes))})"
    return None


def _values(tree: Any, name: str) -> list[Any]:
    """Every value of that name in nested dicts."""
    if not isinstance(tree, dict):
        return []
    found = [tree[name]] if name in tree else []
    return found + [value for branch in tree.values() for value in _values(branch, name)]


def _window(config: PreTrainedConfig, layer: int) -> int | None:
    """The sliding window that transformers masks a layer with."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    return window if kinds is None or kinds[layer] == "sliding_attention" else None


def _refusal(kind: str, why: str) -> UserError:
    return UserError(
        f"Base models of type {kind} cannot be served by the torch engine: {why}. "
        "Take another base model, or server.engine=vllm."
    )
