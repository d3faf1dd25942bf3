"""What goes wrong with a request: a pure decision from its place in the order and its content.

The switches make the endpoint behave like a real provider on a bad day, so that a client can be
tested and measured against every failure that providers are known for.
"""

import hashlib
from typing import Literal

from pydantic import Field, model_validator

from actors.pool.limiter.buckets import TokenBucket
from configs.base import Config

FaultKind = Literal[
    # an HTTP status that is not 200
    "rate_limited",
    "server_error",
    "unauthorized",
    "out_of_credit",
    "not_found",
    # the connection
    "reset",  # closed in the middle of the body
    "stall",  # no answer for as long as the client waits
    # HTTP 200 without an answer in it
    "error_object",
    "wrapped_500",
    "wrapped_504",
    "empty_choices",
    "empty_content",
    "null_finish",
    "error_finish",
    "not_json",  # the whole body is an HTML page
    # an answer whose content does not fit the schema that was asked for
    "malformed",
    "truncated",
    "violation",
    # an answer that is no failure
    "refusal",
    "content_filter",
]
CONTENT_FAULTS = frozenset({"malformed", "truncated", "violation"})


class FaultConfig(Config):
    """The endpoint's switches; the defaults are a good day."""

    latency_s: float = Field(0.0, ge=0, description="wait before every answer")
    cost_usd: float = Field(0.0, ge=0, description="what one answer costs")
    first: list[FaultKind | Literal["none"]] = Field(
        [], description="what happens to the first requests, in order"
    )
    share: dict[FaultKind, float] = Field({}, description="share of the later requests, by fault")
    retry_after_s: float | None = Field(None, ge=0, description="Retry-After on 429 and 503")
    requests_per_s: float | None = Field(
        None, gt=0, description="429 at once to requests over it; a second's worth may come at once"
    )
    out_of_credit_after: int | None = Field(None, ge=0, description="402 after this many requests")
    credit_usd: float | None = Field(None, ge=0, description="the key's limit, as /key shows it")
    no_schema: bool = Field(False, description="400 to a JSON schema, as many servers answer")
    no_json_mode: bool = Field(False, description="400 to any response_format")
    no_logprobs: bool = Field(False, description="null for logprobs, as many providers give")
    refuse_logprobs: bool = Field(False, description="400 to logprobs, as some models answer")
    heal: bool = Field(True, description="a client that asks again gets content that fits")

    @model_validator(mode="after")
    def _shares_are_shares(self) -> "FaultConfig":
        if any(share < 0 for share in self.share.values()) or sum(self.share.values()) > 1 + 1e-9:
            raise ValueError(f"shares must not be negative nor sum to more than 1: {self.share}")
        return self


def request_bucket(config: FaultConfig, now_s: float) -> TokenBucket | None:
    """The bucket, full at first, that holds requests to `requests_per_s`."""
    if config.requests_per_s is None:
        return None
    burst = max(1.0, config.requests_per_s)
    return TokenBucket(config.requests_per_s, burst, now_s, level=burst)


def decide(
    config: FaultConfig, ordinal: int, content_digest: bytes, asked_again: bool = False
) -> FaultKind | None:
    """The fault of request number `ordinal` (from 0), None for an honest answer.

    The same ordinal and content meet the same fault; a retry has another ordinal and so draws anew.
    """
    if config.out_of_credit_after is not None and ordinal >= config.out_of_credit_after:
        return "out_of_credit"
    if ordinal < len(config.first):
        kind = config.first[ordinal]
        fault = None if kind == "none" else kind
    else:
        fault = _drawn(config, ordinal, content_digest)
    if fault in CONTENT_FAULTS and asked_again and config.heal:
        return None
    return fault


def _drawn(config: FaultConfig, ordinal: int, content_digest: bytes) -> FaultKind | None:
    if not config.share:
        return None
    seed = ordinal.to_bytes(8, "big") + content_digest
    draw = int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big") / 2**64
    for kind, share in config.share.items():
        draw -= share
        if draw < 0:
            return kind
    return None
