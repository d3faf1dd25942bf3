"""A file of training data: its rows and their datums, and what files together are known by."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.store.inputs import content_digest
from actors.train.data.datums import Rules, Tokenized, make_datums
from actors.train.data.files import read_rows
from actors.train.data.problems import Problems
from actors.train.data.report import FileReport
from actors.train.data.row import Row
from configs.base import digest
from configs.sft import SftConfig

# The bytes of a file by its name; UserError where they cannot be had.
Read = Callable[[str], bytes]


class Source(NamedTuple):
    """A file, its rows and their datums."""

    name: str
    data: bytes
    rows: list[Row]
    made: Tokenized

    def report(self, used: int) -> FileReport:
        """What became of the rows, of whose datums `used` are used."""
        made = self.made
        counts = (len(self.rows), made.dropped, made.truncated, len(made.taught))
        return FileReport(self.name, *counts, used)


def load_source(
    name: str,
    config: SftConfig,
    tokenizer: PreTrainedTokenizerBase,
    read: Read,
    problems: Problems,
) -> Source:
    """A file as far as it can be read; what is wrong with it goes to `problems`."""
    data, rows = b"", []
    with problems.told():
        data = read(name)
        rows = read_rows(name, data, problems)
    rules = Rules(config.train_on, config.max_tokens, config.too_long)
    known = len(problems)
    made = make_datums(tokenizer, rows, rules, problems)
    if rows and not made.taught and len(problems) == known:
        problems.add(f"{name}: no row fits into max_tokens={config.max_tokens}; give more.")
    return Source(name, data, rows, made)


def data_identity(
    contents: Sequence[bytes], weights: Sequence[float | None], validation: bytes | None = None
) -> str:
    """Hex SHA-256 of what the files hold, in their order, and of their shares; not of names."""
    total = sum(weight or 0.0 for weight in weights)
    shares = [weight / total if weight and len(weights) > 1 else None for weight in weights]
    files = [[content_digest(data), share] for data, share in zip(contents, shares, strict=True)]
    return digest([files, None if validation is None else content_digest(validation)])
