"""The few bodies that the SDK has no type for."""

from pydantic import BaseModel, ConfigDict, Field

from serve.tinker_api.kept import MOST_TTL_S


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CancelBody(_Body):
    """`POST cancel_future`."""

    request_id: str


class FinishReason(_Body):
    """How a session ended."""

    type: str


class FinishBody(_Body):
    """`POST sessions/{id}/finish`."""

    reason: FinishReason
    detail: str | None = None


class PathBody(_Body):
    """`POST weights_info`."""

    tinker_path: str


class TtlBody(_Body):
    """`PUT .../ttl`: seconds from now; null keeps the checkpoint."""

    ttl_seconds: int | None = Field(None, ge=1, le=MOST_TTL_S)
