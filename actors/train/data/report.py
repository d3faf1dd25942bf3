"""What became of the rows of a data set, in numbers."""

from typing import NamedTuple

from actors.train.data.contamination import Contact

_SHOWN = 20


class FileReport(NamedTuple):
    """What became of the rows of one file."""

    file: str
    rows: int  # in the file
    dropped: int  # longer than max_tokens
    truncated: int
    datums: int  # more than rows where a template wants one for each answer
    used: int  # datums in an epoch or, of the validation file, in a validation

    def line(self) -> str:
        """`rows.jsonl: 7473 rows, 3 dropped (too long), 7470 used`."""
        split = self.datums > self.rows - self.dropped
        counts = {
            "dropped (too long)": self.dropped,
            "truncated": self.truncated,
            "datums (one for each answer)": self.datums * split,
        }
        told = [f"{count} {name}" for name, count in counts.items() if count]
        return f"{self.file}: {', '.join([_rows(self.rows), *told, f'{self.used} used'])}"


class Contamination(NamedTuple):
    """What of the evaluations was found in the training data."""

    prompts: int  # that were looked for
    contacts: tuple[Contact, ...] = ()

    def lines(self) -> list[str]:
        """The rows that hold prompts, or that there are none; nothing where none were given."""
        if not self.contacts:
            none = f"none of the {self.prompts} evaluation prompts is in the training data"
            return [none] if self.prompts else []
        rows = len({contact.row for contact in self.contacts})
        more = len(self.contacts) - _SHOWN
        return [
            f"{_rows(rows)} with evaluation prompts (strict=true refuses them):",
            *(f"  {contact.row}: {contact.prompt}" for contact in self.contacts[:_SHOWN]),
            *([f"  ... and {more} more"] if more > 0 else []),
        ]


class DataReport(NamedTuple):
    """What became of the rows of a data set."""

    files: tuple[FileReport, ...]
    validation_file: FileReport | None
    train: int  # datums of an epoch
    validation: int  # datums of a validation
    tokens: int  # of an epoch
    target_tokens: int  # of an epoch
    contamination: Contamination

    def lines(self) -> list[str]:
        """The report as it is shown."""
        files = [*self.files, *([self.validation_file] if self.validation_file else [])]
        held = f"; {self.validation} held out for validation" if self.validation else ""
        return [
            *(file.line() for file in files),
            f"{_rows(self.train)} an epoch with {self.tokens} tokens, "
            f"{self.target_tokens} of them learned{held}",
            *self.contamination.lines(),
        ]


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"
