"""What is left on the provider's key: OpenRouter's `GET /key`, read into a finding."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from jobs.doctor.finding import Finding

_WAIT_S = 5.0
_CREDIT_PAGE = "https://openrouter.ai/settings/credits"
_KEYS_PAGE = "https://openrouter.ai/settings/keys"


def credit(base_url: str, api_key: str) -> Finding:
    """Ask the provider what is left on the key."""
    url = f"{base_url}/key"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"})
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as reply:
            return read_credit(json.load(reply))
    except urllib.error.HTTPError as error:
        error.close()
        return _refused(error.code)
    except (OSError, ValueError) as error:  # no network, a time-out, a page that is no JSON
        said = getattr(error, "reason", error)
        return Finding("credit", "note", f"not known: {url} did not answer ({said})")


def read_credit(body: Any) -> Finding:
    """The finding in the provider's answer."""
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, Mapping):
        return Finding("credit", "note", "not known: the provider's answer holds no `data`")
    used, limit, left = (_dollars(data.get(k)) for k in ("usage", "limit", "limit_remaining"))
    spent = "" if used is None else f", ${used:.2f} used so far"
    if left is None:
        return Finding("credit", "ok", f"the key has no limit of its own{spent}")
    of = "" if limit is None else f" of ${limit:.2f}"
    found = f"${max(left, 0.0):.2f}{of} left on the key{spent}"
    if left <= 0:
        mend = f"raise the key's limit at {_KEYS_PAGE}, or add credit at {_CREDIT_PAGE}"
        return Finding("credit", "missing", found, mend)
    return Finding("credit", "ok", found)


def _refused(status: int) -> Finding:
    if status in (401, 403):
        mend = f"set OPENROUTER_API_KEY in .env to a key from {_KEYS_PAGE}"
        return Finding("credit", "missing", f"the key is not accepted (HTTP {status})", mend)
    if status == 402:
        mend = f"add credit at {_CREDIT_PAGE}"
        return Finding("credit", "missing", "the account is out of credit (HTTP 402)", mend)
    return Finding("credit", "note", f"not known: the provider answered HTTP {status}")


def _dollars(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None
