"""A row of training data, and the place it came from."""

from typing import NamedTuple

from actors.lm.messages import Conversation


class Completion(NamedTuple):
    """Plain text that is continued; no chat template touches it."""

    prompt: str
    completion: str


class Row(NamedTuple):
    """One row and where it stands."""

    where: str  # file:line
    content: Conversation | Completion
    # How much each message counts, where the file says it; 0 is not learned.
    weights: tuple[float, ...] | None = None

    @property
    def asked(self) -> list[str]:
        """What stands where a user would write: the user's turns, or the whole of a plain text."""
        if isinstance(self.content, Completion):
            return ["".join(self.content)]
        return [turn["content"] for turn in self.content if turn["role"] == "user"]

    @property
    def said(self) -> tuple[tuple[str, str], ...]:
        """What makes two rows duplicates: the same turns, whatever they weigh."""
        if isinstance(self.content, Completion):
            return (("prompt", self.content.prompt), ("completion", self.content.completion))
        return tuple((turn["role"], turn["content"]) for turn in self.content)
