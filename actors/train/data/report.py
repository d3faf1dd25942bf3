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
            "rows": self.rows,
            "dropped (too long)": self.dropped,
            "truncated": self.truncated,
            "datums (one for each answer)": self.datums * split,
        }
        told = [f"{count} {name}" for name, count in counts.items() if count or name == "rows"]
        return f"{self.file}: {', '.join([*told, f'{self.used} used'])}"


class DataReport(NamedTuple):
    """What became of the rows of a data set."""

    files: tuple[FileReport, ...]
    validation_file: FileReport | None
    train: int  # datums of an epoch
    validation: int  # datums of a validation
    tokens: int  # of an epoch
    target_tokens: int  # of an epoch
    contaminated: tuple[Contact, ...]

    def lines(self) -> list[str]:
        """The report as it is shown."""
        files = [*self.files, *([self.validation_file] if self.validation_file else [])]
        held = f"; {self.validation} held out for validation" if self.validation else ""
        return [
            *(file.line() for file in files),
            f"{self.train} rows an epoch with {self.tokens} tokens, "
            f"{self.target_tokens} of them learned{held}",
            *self._contacts(),
        ]

    def _contacts(self) -> list[str]:
        if not self.contaminated:
            return []
        rows = len({contact.row for contact in self.contaminated})
        more = len(self.contaminated) - _SHOWN
        return [
            f"{rows} row{'s hold' if rows > 1 else ' holds'} evaluation prompts "
            "(strict=true refuses them):",
            *(f"  {contact.row}: {contact.prompt}" for contact in self.contaminated[:_SHOWN]),
            *([f"  ... and {more} more"] if more > 0 else []),
        ]
