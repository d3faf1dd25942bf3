"""Hold the conversations of an evaluation: turn by turn within a prompt, all prompts at once."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from actors.lm.messages import Conversation, assistant, user
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.store.records import record_key
from configs.base import digest
from configs.eval import EvalConfig
from jobs.properties.prompt_file import EvalItem
from jobs.properties.samplers import Sampler


class Cell(NamedTuple):
    """One conversation to hold: a model, a prompt, and the how-manieth of that prompt."""

    model: str
    adapter_digest: str
    item: EvalItem
    sample: int
    seed: int  # the same for every model: they meet the same luck
    key: str


def cells(
    config: EvalConfig, items: Sequence[EvalItem], digests: dict[str, str], base_digest: str
) -> Iterator[Cell]:
    """Every conversation of the evaluation, models innermost: batches mix adapters."""
    sampling = config.sampling.model_dump(mode="json")
    for item in items:
        for sample in range(config.num_samples):
            luck = digest([config.seed, item.messages, sample])
            for model, adapter_digest in digests.items():
                key = record_key(
                    base=base_digest,
                    adapter=adapter_digest,
                    messages=item.messages,
                    property=item.property,
                    sampling=sampling,
                    seed=config.seed,
                    sample=sample,
                )
                yield Cell(model, adapter_digest, item, sample, int(luck[:8], 16), key)


async def hold(client: Sampler, cell: Cell, config: EvalConfig) -> dict[str, Any]:
    """Hold one conversation: each user message meets the answers before it.

    Returns the fields of its record, with a `reason` where the model cannot answer (a prompt that
    is too long for it, an adapter without finite numbers). Every reply's digest is checked.
    """
    messages: Conversation = []
    finish_reasons: list[str] = []
    fields = {
        "adapter_digest": cell.adapter_digest,
        "messages": messages,
        "finish_reasons": finish_reasons,
    }
    for turn, text in enumerate(cell.item.messages):
        messages.append(user(text))
        try:
            sample = await client.chat(cell.model, messages, config.sampling, seed=cell.seed + turn)
        except (BadRequest, BrokenAdapter) as error:
            return {**fields, "reason": str(error)}
        if sample.adapter_digest != cell.adapter_digest:
            raise RuntimeError(f"{cell.model}: another adapter answered: {sample.adapter_digest}")
        messages.append(assistant(sample.text))
        finish_reasons.append(sample.finish_reason)
    return fields
