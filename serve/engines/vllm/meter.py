"""What vllm has done and holds, as it tells after every step."""

from typing import Any

from actors.lm.engine import EngineStats


class Meter:
    """A stat logger of vllm's (`StatLoggerBase`) that keeps the numbers of `EngineStats`."""

    def __init__(self, cache_tokens: int, max_batch: int) -> None:
        self._cache_tokens, self._max_batch = cache_tokens, max_batch
        self._cache_used = 0.0  # a share
        self._prompt_tokens = self._cached_prompt_tokens = self._generated_tokens = 0

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Called after a step; either may be None."""
        if scheduler_stats is not None:
            self._cache_used = scheduler_stats.kv_cache_usage
        if iteration_stats is not None:
            prompts = iteration_stats.prompt_token_stats
            self._prompt_tokens += prompts.computed
            self._cached_prompt_tokens += prompts.cached_tokens
            self._generated_tokens += iteration_stats.num_generation_tokens

    def log_engine_initialized(self) -> None:
        """Nothing is logged."""

    def log(self) -> None:
        """Nothing is logged."""

    def record_sleep_state(self, is_awake: int, level: int) -> None:
        """Nothing is logged."""

    def stats(self, asked: int) -> EngineStats:
        """`asked` requests are with vllm at the moment; what its batch has no room for waits."""
        running = min(asked, self._max_batch)
        return EngineStats(
            running=running,
            waiting=asked - running,
            cache_tokens_used=round(self._cache_used * self._cache_tokens),
            cache_tokens=self._cache_tokens,
            prompt_tokens=self._prompt_tokens,
            cached_prompt_tokens=self._cached_prompt_tokens,
            generated_tokens=self._generated_tokens,
        )
