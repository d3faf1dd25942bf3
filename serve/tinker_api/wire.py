"""The protobuf of passes: batches to datums, and what a pass found to bytes.

Pure. The messages are the SDK's own (`tinker.proto`); arrays travel as little-endian bytes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tinker.proto import tinker_public_pb2 as proto

from actors.train.backend import Passed
from actors.train.datum import Datum
from actors.train.losses import LOSSES, LossName

_TYPES = {proto.DTYPE_FLOAT32: np.dtype("<f4"), proto.DTYPE_INT64: np.dtype("<i8")}
_TARGETS = "target_tokens"
_READS = {"cross_entropy": ("weights",)}  # beside the targets
_RL_READS = ("logprobs", "advantages")
_CLIPS = ("clip_low_threshold", "clip_high_threshold")
_SETTINGS = {"ppo": _CLIPS, "cispo": _CLIPS}


def parse_pass(body: bytes) -> proto.ForwardBackwardRequest:
    """A request for a pass; ValueError where the bytes are none."""
    message = proto.ForwardBackwardRequest()
    try:
        message.ParseFromString(body)
    except DecodeError:
        raise ValueError("the body is no ForwardBackwardRequest of tinker.proto") from None
    return message


def loss_of(message: proto.ForwardBackwardRequest) -> tuple[LossName, dict[str, float]]:
    """The loss and its settings; ValueError for a loss or a setting that there is not."""
    loss = next((known for known in LOSSES if known == message.loss_fn), None)
    if loss is None:
        raise ValueError(f'loss_fn "{message.loss_fn[:80]}": known are {", ".join(LOSSES)}')
    second = message.loss_fn_config_v2
    config = dict(message.loss_fn_config) | {name: one.number for name, one in second.items()}
    for name, value in config.items():
        if name not in _SETTINGS.get(loss, ()):
            raise ValueError(f'loss_fn_config: {loss} knows no "{name[:80]}"')
        if not math.isfinite(value) or (name in second and not second[name].HasField("number")):
            raise ValueError(f"loss_fn_config: {name} must be a finite number")
    return loss, config


def datums(message: proto.ForwardBackwardRequest, vocabulary: int) -> list[Datum]:
    """The batch; ValueError names the datum and the array that cannot be used."""
    if not message.data:
        raise ValueError("the batch is empty")
    reads = _READS.get(message.loss_fn, _RL_READS)
    return [_datum(i, one, reads, vocabulary) for i, one in enumerate(message.data)]


def passed(found: Passed) -> bytes:
    """What a pass found. Every metric is named with how parts of a batch are joined."""
    metrics = {name if ":" in name else f"{name}:mean": v for name, v in found.metrics.items()}
    output = proto.ForwardBackwardOutput(
        loss_fn_output_type="ArrayRecord", metrics=metrics | {"loss:sum": found.loss}
    )
    lengths = [0, *(one.size * 4 for one in found.logprobs)]
    record = output.loss_fn_outputs.add(num_datums=len(found.logprobs))
    field = record.fields["logprobs"]
    field.data = np.concatenate(found.logprobs).astype("<f4").tobytes()
    field.offsets = np.cumsum(lengths).astype("<i8").tobytes()
    field.dtype = proto.DTYPE_FLOAT32
    return output.SerializeToString()


def _datum(index: int, one: proto.Datum, reads: Sequence[str], vocabulary: int) -> Datum:
    where = f"datum {index}"
    if any(chunk.WhichOneof("chunk") != "encoded_text" for chunk in one.model_input):
        raise ValueError(f"{where}: only text is read here, no images and no sound")
    tokens = b"".join(chunk.encoded_text.tokens for chunk in one.model_input)
    token_ids = _array(f"{where}: model_input", tokens, np.dtype("<i4")).astype(np.int64)
    given = {name: _tensor(f"{where}: {name}", tensor) for name, tensor in _inputs(one).items()}
    if _TARGETS not in given:
        raise ValueError(f"{where}: {_TARGETS} is missing")
    if "weights" in reads:
        given.setdefault("weights", np.ones(len(token_ids), np.float32))
    _check_names(where, given, reads)
    for name, array in given.items():
        if array.shape != token_ids.shape:
            raise ValueError(f"{where}: {name} has {array.size} values for {len(token_ids)} tokens")
    for name, ids in (("model_input", token_ids), (_TARGETS, given[_TARGETS])):
        _check_ids(f"{where}: {name}", ids, vocabulary)
    floats = {name: array.astype(np.float32) for name, array in given.items() if name != _TARGETS}
    for name, array in floats.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds a value that is not finite")
    return Datum(token_ids, given[_TARGETS].astype(np.int64), **floats)


def _inputs(one: proto.Datum) -> Mapping[str, Any]:
    return one.loss_fn_inputs


def _check_names(where: str, given: Mapping[str, Any], reads: Sequence[str]) -> None:
    missing = [name for name in reads if name not in given]
    unread = sorted(set(given) - {_TARGETS, *reads})
    if missing:
        raise ValueError(f"{where}: {missing[0]} is missing")
    if unread:
        raise ValueError(
            f'{where}: "{unread[0][:80]}" is not read by this loss, which reads {_TARGETS} and '
            f"{' and '.join(reads)}; leave it out"
        )


def _check_ids(where: str, ids: NDArray[Any], vocabulary: int) -> None:
    if not len(ids):
        raise ValueError(f"{where} is empty")
    if ids.dtype.kind != "i" or ids.min() < 0 or ids.max() >= vocabulary:
        raise ValueError(f"{where}: token ids must be whole numbers in 0..{vocabulary - 1}")


def _tensor(where: str, tensor: proto.Tensor) -> NDArray[Any]:
    """A tensor's values [T]."""
    if tensor.dtype not in _TYPES:
        raise ValueError(f"{where}: its type must be float32 or int64")
    if tensor.WhichOneof("encoding") == "sparse_csr" or len(tensor.shape) > 1:
        raise ValueError(
            f"{where} has shape {list(tensor.shape)}: this server takes one value per token, [T]"
        )
    return _array(where, tensor.dense, _TYPES[tensor.dtype])


def _array(where: str, data: bytes, kind: np.dtype[Any]) -> NDArray[Any]:
    if len(data) % kind.itemsize:
        raise ValueError(f"{where}: {len(data)} bytes are no whole number of values")
    return np.frombuffer(data, kind)
