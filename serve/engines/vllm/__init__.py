"""The vLLM engine: `AsyncLLM` with LoRA behind the protocol of `actors.lm.engine`.

vllm is imported when an engine starts, never before: it is an extra.
"""
