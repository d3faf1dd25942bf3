"""A peer: transformers' continuous batching, base only.

What `generate_batch` does, with a number of new tokens of each row's own and a manager that runs
already when the clock starts.
"""

import asyncio

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from jobs.bench.serve.child import serve, started
from jobs.bench.serve.work import Work

# Left to itself it takes 90 % of the machine's memory. More of either is no faster.
_SIZES = ContinuousBatchingConfig(num_blocks=128, max_batch_tokens=512)


def main() -> None:
    """Load and answer."""
    torch.set_num_threads(1)
    start = started()
    model = AutoModelForCausalLM.from_pretrained(start.base).to(start.device).eval()
    greedy = GenerationConfig(do_sample=False, eos_token_id=-1)
    with model.continuous_batching_context_manager(
        generation_config=greedy, continuous_batching_config=_SIZES
    ) as manager:

        async def sample(work: Work) -> list[list[int]]:
            names = [
                manager.add_request(row.prompt_ids, max_new_tokens=row.new_tokens)
                for row in work.rows
            ]
            found: dict[str, list[int]] = {}
            while len(found) < len(names):
                answer = manager.get_result(timeout=1)
                if answer is not None and answer.is_finished():
                    found[answer.request_id] = answer.generated_tokens
                elif not manager.is_running():
                    raise RuntimeError("continuous batching has ended: see above")
            return [found[name] for name in names]

        asyncio.run(serve(sample))


if __name__ == "__main__":
    main()
