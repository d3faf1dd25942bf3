"""Passes over a batch: this rank's share of it, a micro-batch at a time.

Every rank is given the whole batch and gets the whole batch's answer. Losses are sums, so how a
batch is split over ranks, micro-batches and chunks of the head changes nothing but rounding, and
what drops out depends on a token's place in the whole batch.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from actors.train.backend import Passed
from actors.train.datum import Datum
from actors.train.losses import LOSSES, LossName
from actors.train.on_torch.dropout import LoraDropout, PassKey
from actors.train.on_torch.halves import Halves
from actors.train.on_torch.microbatch import (
    MicroBatch,
    Row,
    collate,
    microbatches,
    rows_of,
    shard,
)

# More are no quicker there, and take more memory.
_MICRO_BATCH_TOKENS = {"cpu": 1024, "cuda": 8192}
_CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**27}  # of the head at once; 16 MB, 512 MB in float32


class Passes:
    """Runs batches through a model, with or without learning from them."""

    def __init__(
        self,
        model: PreTrainedModel,
        dropout: LoraDropout,
        *,
        micro_batch_tokens: int | None,
        reads_all: bool,
        on_micro_batch: Callable[[], None],
    ) -> None:
        parallel = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if parallel else 0
        self.world_size = dist.get_world_size() if parallel else 1
        self._halves, self._dropout = Halves(model), dropout
        self._device = model.device
        # Products of a float32 adapter in the base's own type, as the server computes them.
        self._mixed = torch.autocast(
            self._device.type, model.dtype, enabled=model.dtype in (torch.bfloat16, torch.float16)
        )
        self._precision = torch.promote_types(model.dtype, torch.float32)  # of log-probabilities
        self._vocabulary = model.config.get_text_config().vocab_size
        self._micro_batch_tokens = micro_batch_tokens or _MICRO_BATCH_TOKENS[self._device.type]
        self._reads_all = reads_all
        self._on_micro_batch = on_micro_batch
        # Ranks that hold parts of the layers for each other go through them equally often.
        self._in_step = any(isinstance(module, FSDPModule) for module in model.modules())

    def run(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float],
        key: PassKey | None,
    ) -> Passed:
        """Pass a whole batch.

        A pass with a key is learnt from: its gradients are added to the parameters', and the key
        decides what drops out. `loss_config["temperature"]` divides the logits (default: 1).
        """
        rows = rows_of(datums, loss, self._reads_all)
        # The loss, then the log-probability of every token of the batch: one sum over the ranks.
        found = torch.zeros(1 + sum(map(len, rows)), dtype=torch.float64, device=self._device)
        for group in self._groups(rows):
            batch = collate(group, self._halves.reach, self._device)
            drops = self._dropout.of(key, batch.places)
            with self._mixed, self._halves.taking(batch.inputs), drops:
                value, logprobs = self._through(batch, loss, loss_config, key is not None)
            found[0] += value
            found[1 + batch.places[batch.reads]] = logprobs.double()
            self._on_micro_batch()
        if self.world_size > 1:
            dist.all_reduce(found)
        total = found[0].item()
        logprobs = found[1:].to(self._precision).cpu().numpy()
        return Passed(total, np.split(logprobs, np.cumsum([len(row) for row in rows])[:-1]))

    def _groups(self, rows: Sequence[Row]) -> list[list[Row]]:
        """This rank's micro-batches; rows that teach nothing are left out."""
        reading = [row for row in rows if len(row.reads)]
        of_ranks = [
            microbatches(
                shard(reading, rank, self.world_size), self._micro_batch_tokens, self._halves.reach
            )
            for rank in (range(self.world_size) if self._in_step else [self.rank])
        ]
        mine = of_ranks[self.rank if self._in_step else 0]
        return mine + [[_IDLE]] * (max(map(len, of_ranks)) - len(mine))

    def _through(
        self, batch: MicroBatch, loss: LossName, config: Mapping[str, float], learn: bool
    ) -> tuple[Tensor, Tensor]:
        """Loss (a scalar) and log-probabilities [N] of a micro-batch.

        The head runs on chunks of the hidden states, each with its own backward pass; what they
        hand back goes through the decoder at once.
        """
        with torch.set_grad_enabled(learn):
            answer = self._halves.decode(batch.inputs)
            hidden = answer.last_hidden_state.flatten(0, 1).index_select(0, batch.reads)  # [N, H]
        gradient = torch.empty_like(hidden)
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        found: list[Tensor] = []
        size = max(1, _CHUNK_LOGITS[self._device.type] // self._vocabulary)
        for start in range(0, len(hidden), size):
            chunk = slice(start, start + size)
            states = hidden[chunk].detach().requires_grad_(learn)
            with torch.set_grad_enabled(learn), self._dropout.among(batch.reads[chunk]):
                logits = self._halves.logits(answer, states).to(self._precision)
                if (temperature := config.get("temperature", 1.0)) != 1:
                    logits = logits / temperature
                logprobs = -F.cross_entropy(logits, batch.target_ids[chunk], reduction="none")
                value = LOSSES[loss](logprobs, batch.given.part(chunk), config)
            if learn:
                value.backward()
                gradient[chunk] = states.grad
            total += value.detach()
            found.append(logprobs.detach())
        if learn and hidden.requires_grad:
            hidden.backward(gradient)
        return total, torch.cat(found) if found else total.new_zeros(0)


_NOTHING = np.zeros(0, np.int64)
_IDLE = Row(Datum(np.zeros(1, np.int64), np.zeros(1, np.int64)), 0, _NOTHING)
