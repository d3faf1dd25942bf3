"""A peer: peft's mixed batch, `generate(adapter_names=...)` over all rows at once.

It samples as many tokens in every row as the longest asks for; what is too much is cut off.
"""

import asyncio

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from jobs.bench.serve.child import serve, started
from jobs.bench.serve.work import Work, adapter_name

_PAD = 0


def main() -> None:
    """Load and answer."""
    torch.set_num_threads(1)
    start = started()
    base = AutoModelForCausalLM.from_pretrained(start.base).to(start.device)
    first, *others = start.adapters
    model = PeftModel.from_pretrained(base, first, adapter_name(0)).eval()
    for number, path in enumerate(others, start=1):
        model.load_adapter(path, adapter_name(number))

    async def sample(work: Work) -> list[list[int]]:
        width = max(len(row.prompt_ids) for row in work.rows)
        padded = [[_PAD] * (width - len(row.prompt_ids)) + row.prompt_ids for row in work.rows]
        seen = [
            [0] * (width - len(row.prompt_ids)) + [1] * len(row.prompt_ids) for row in work.rows
        ]
        names = [
            "__base__" if row.adapter is None else adapter_name(row.adapter) for row in work.rows
        ]
        with torch.inference_mode():
            whole = model.generate(
                input_ids=torch.tensor(padded, device=start.device),
                attention_mask=torch.tensor(seen, device=start.device),
                adapter_names=names,
                max_new_tokens=max(row.new_tokens for row in work.rows),
                do_sample=False,
                pad_token_id=_PAD,
            )
        rows = whole[:, width:].tolist()
        return [ids[: row.new_tokens] for ids, row in zip(rows, work.rows, strict=True)]

    asyncio.run(serve(sample))


if __name__ == "__main__":
    main()
