"""The protobuf of samples: what a sampler said, to bytes. Pure."""

from collections.abc import Sequence

import numpy as np
from tinker.proto import tinker_public_pb2 as proto

from actors.lm.requests import TokenLogprob
from serve.calls import Answer

_STOPS = {"stop": proto.STOP_REASON_STOP, "length": proto.STOP_REASON_LENGTH}
_NO_LOGPROB = -99999.0  # in an empty cell of a table of likeliest tokens


def sampled(answer: Answer, *, sampled_likeliest: int, prompt: "PromptWishes") -> bytes:
    """The samples of one prompt, and what was asked about the prompt itself."""
    response = proto.SampleResponse()
    for choice in answer.choices:
        sample = choice.sample
        one = response.sequences.add(stop_reason=_STOPS[sample.finish_reason])
        one.tokens = np.array(sample.token_ids, "<i4").tobytes()
        one.logprobs = np.array([told.logprob for told in sample.logprobs], "<f4").tobytes()
        if sampled_likeliest:
            one.topk_sampled_logprobs.CopyFrom(_likeliest(sample.logprobs, sampled_likeliest))
    places = answer.choices[0].sample.prompt_logprobs
    if places is not None:
        told = prompt.last(places)
        if prompt.logprobs:
            numbers = [np.nan if place is None else place.logprob for place in told]
            response.prompt_logprobs = np.array(numbers, "<f4").tobytes()
        if prompt.likeliest:
            response.topk_prompt_logprobs.CopyFrom(_likeliest(told, prompt.likeliest))
    return response.SerializeToString()


class PromptWishes:
    """What a sample request wants to know about its prompt."""

    def __init__(self, *, logprobs: bool, likeliest: int, last_n: int | None) -> None:
        self.logprobs, self.likeliest, self._last_n = logprobs, likeliest, last_n

    def last(self, places: Sequence[TokenLogprob | None]) -> list[TokenLogprob | None]:
        """The places [P], those before the last n without their numbers."""
        first = 0 if self._last_n is None else max(0, len(places) - self._last_n)
        return [place if i >= first else None for i, place in enumerate(places)]


def _likeliest(places: Sequence[TokenLogprob | None], count: int) -> proto.TopkLogprobs:
    """The table [N, count], row by row."""
    ids = np.zeros((len(places), count), "<i4")
    logprobs = np.full((len(places), count), _NO_LOGPROB, "<f4")
    for row, place in enumerate(places):
        for rank, likely in enumerate(place.likeliest[:count] if place else ()):
            ids[row, rank], logprobs[row, rank] = likely
    return proto.TopkLogprobs(
        token_ids=ids.tobytes(), logprobs=logprobs.tobytes(), k=count, length=len(places)
    )
