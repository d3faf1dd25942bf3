"""The floor of a first token: one forward of the prompt by the model as transformers loads it."""

import asyncio

import torch
from transformers import AutoModelForCausalLM

from jobs.bench.serve.child import serve, started
from jobs.bench.serve.work import Work


def main() -> None:
    """Load and answer."""
    torch.set_num_threads(1)
    start = started()
    model = AutoModelForCausalLM.from_pretrained(start.base).to(start.device).eval()

    async def sample(work: Work) -> list[list[int]]:
        sampled = []
        with torch.inference_mode():
            for row in work.rows:
                prompt = torch.tensor([row.prompt_ids], device=start.device)
                logits = model(input_ids=prompt, logits_to_keep=1).logits
                sampled.append([int(logits[0, -1].argmax())])
        return sampled

    asyncio.run(serve(sample))


if __name__ == "__main__":
    main()
