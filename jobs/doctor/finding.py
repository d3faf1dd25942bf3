"""One line of the doctor's report."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What a check found. `mend` is a command or a sentence, empty where nothing is amiss."""

    check: str
    state: Literal["ok", "note", "missing"]
    found: str
    mend: str = ""
