r"""The number that an answer comes to.

It stands in the last \boxed{}, else after the last ####, else it is the last number that is said.
"""

import re
from decimal import Decimal

_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)\]])[-−])?(?:[$€£](?P<less>[-−])?)?"
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|(?<!\d)\.\d+)"
)
_BOX = r"\boxed{"
_MARK = "####"


def final_number(text: str) -> Decimal | None:
    """The number, None where there is none. Commas, currency signs and last zeros are form."""
    found = list(_NUMBER.finditer(_final_part(text.replace(r"\$", "$").replace("{,}", ","))))
    if not found:
        return None
    last = found[-1]
    size = Decimal(last["digits"].replace(",", ""))
    return -size if last["sign"] or last["less"] else size


def _final_part(text: str) -> str:
    """Where the final number has to stand."""
    start = text.rfind(_BOX)
    if start >= 0:
        return _within_braces(text[start + len(_BOX) :])
    return text.rpartition(_MARK)[2]


def _within_braces(text: str) -> str:
    """Up to the brace that closes one which was opened before; all of it where none does."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:place]
    return text
