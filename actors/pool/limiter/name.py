"""What the limiter of an endpoint's account and model is called on the cluster."""

from configs.base import digest

_PREFIX = "limiter"
_DIGITS = 12


def limiter_name(base_url: str, account_digest: str, model: str) -> str:
    """The name; the account is given by a digest, never by its key."""
    return f"{_PREFIX}:{model}:{digest([base_url, account_digest, model])[:_DIGITS]}"


def model_of(name: str) -> str:
    """The model in a limiter's name, for people and metrics."""
    return name.removeprefix(f"{_PREFIX}:").rpartition(":")[0]
