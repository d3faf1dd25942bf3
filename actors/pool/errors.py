"""Faults that no retry mends: every call would meet them until the user does something.

UserError
├── ProviderRefused       the key or the credit is not accepted (401, 402, 403)
└── ProviderUnreachable   nothing answers at the URL, and nothing ever did
"""

from actors.pool.provider import Provider
from configs.errors import UserError


class ProviderRefused(UserError):
    """The provider takes no calls from this account."""

    def __init__(self, provider: Provider, status: int | None, said: str) -> None:
        if status == 402:
            mend = f"Add credit to the account behind {provider.key_variable or 'the key'}"
        elif provider.key_variable is None:
            mend = "Give the endpoint a key that it takes"
        else:
            mend = f"Set {provider.key_variable} to a key that may use this model"
        super().__init__(
            f"{provider.name} refused the call (HTTP {status}: {said}). {mend}, then run the same "
            "command again: finished work is kept."
        )
        self.status = status


class ProviderUnreachable(UserError):
    """No connection to the provider could ever be made."""

    def __init__(self, provider: Provider, said: str) -> None:
        super().__init__(
            f"Nothing answers at {provider.base_url} ({said}). Start the server there, or give "
            "another URL as provider=, or use provider=offline."
        )
