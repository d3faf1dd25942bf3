"""Faults that no retry mends: every call would meet them until the user does something.

UserError
├── ProviderRefused       the key or the credit is not accepted (401, 402, 403)
├── ProviderUnreachable   nothing answers at the URL, and nothing ever did
└── NotRecorded           a replay is asked for what it does not hold

They travel between processes, so each is made of its message alone.
"""

from actors.pool.provider import Provider
from configs.errors import UserError


class ProviderRefused(UserError):
    """The provider takes no calls from this account."""


class ProviderUnreachable(UserError):
    """No connection to the provider could ever be made."""


class NotRecorded(UserError):
    """A replay was asked a question whose answer it does not hold."""


def provider_refused(provider: Provider, status: int | None, said: str) -> ProviderRefused:
    """The error behind a 401, 402 or 403."""
    variable = provider.key_variable
    if variable is not None and provider.api_key == "none":
        mend = f"No key was sent: set {variable}"
    elif status == 402:
        mend = f"Add credit to the account behind {variable or 'the key'}"
    elif variable is None:
        mend = "Give the endpoint a key that it takes"
    else:
        mend = f"Set {variable} to a key that may use this model"
    return ProviderRefused(
        f"{provider.name} refused the call (HTTP {status}: {said}). {mend}, then run the same "
        "command again: finished work is kept."
    )


def provider_unreachable(provider: Provider, said: str) -> ProviderUnreachable:
    """The error behind a URL at which nothing was ever reached."""
    return ProviderUnreachable(
        f"Nothing answers at {provider.base_url} ({said}). Start the server there, or give "
        "another URL as provider=, or use provider=offline."
    )


def not_recorded(provider: Provider, model: str) -> NotRecorded:
    """The error behind a question that was not asked when the study was recorded."""
    return NotRecorded(
        f"{provider.note}: a call to {model} is not in it. Give the config that the recorded run "
        "had, or a provider that can answer."
    )
