"""A row as text, and how much each part of the text counts."""

from typing import Literal, NamedTuple

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.chat import OpeningLeftOut, RewrittenTurns, Span, answer_span, conversation_text
from actors.lm.messages import Conversation
from actors.train.data.row import Completion, Row

TrainOn = Literal["assistant", "last_assistant", "all"]
NOTHING = "no token of an assistant's turn to learn"
_PLAIN_TEXT = "write the row as plain text, a prompt and its completion"


class LearnedText(NamedTuple):
    """A text, the weights of its spans, and the weight of what stands outside of them."""

    text: str
    spans: list[tuple[Span, float]]
    outside: float = 0.0


def learned_texts(
    tokenizer: PreTrainedTokenizerBase, row: Row, train_on: TrainOn
) -> list[LearnedText]:
    """The row's text; where the template rewrites earlier turns, a text for each answer.

    Each of those ends with its answer, which so is learned in the very context in which it would
    be sampled. Raises ValueError where the row teaches nothing or the template refuses it.
    """
    if isinstance(row.content, Completion):
        return [_continued(tokenizer, row.content, train_on)]
    messages, weights = row.content, row.weights or (1.0,) * len(row.content)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if train_on == "all":
        odd = {i: weights[i] for i in answers if weights[i] != 1}
        return [_weighed(tokenizer, messages, odd, outside=1.0)]
    asked = answers if train_on == "assistant" else answers[-1:]
    learned = {i: weights[i] for i in asked if weights[i] > 0}
    if not learned:
        raise ValueError(NOTHING)
    try:
        return [_weighed(tokenizer, messages, learned)]
    except RewrittenTurns:
        return [_ending(tokenizer, messages[: i + 1], weights[i]) for i in learned]


def _ending(
    tokenizer: PreTrainedTokenizerBase, messages: Conversation, weight: float
) -> LearnedText:
    """A conversation of which only the last turn is learned."""
    try:
        return _weighed(tokenizer, messages, {len(messages) - 1: weight})
    except RewrittenTurns as error:
        says = "say in the user's turn what the system's says"
        mend = says if messages[0]["role"] == "system" else _PLAIN_TEXT
        raise ValueError(f"{error}; {mend}") from None


def _weighed(
    tokenizer: PreTrainedTokenizerBase,
    messages: Conversation,
    weights: dict[int, float],
    outside: float = 0.0,
) -> LearnedText:
    text = conversation_text(tokenizer, messages)
    try:
        spans = [(answer_span(tokenizer, messages, i, text), w) for i, w in weights.items()]
    except OpeningLeftOut as error:
        raise ValueError(f"{error}; {_PLAIN_TEXT}") from None
    return LearnedText(text, spans, outside)


def _continued(
    tokenizer: PreTrainedTokenizerBase, content: Completion, train_on: TrainOn
) -> LearnedText:
    """Prompt and completion, closed by the end-of-text token unless that stands there already."""
    text = content.prompt + content.completion
    end = tokenizer.eos_token
    if isinstance(end, str) and not text.endswith(end):
        text += end
    span = Span(len(content.prompt), len(text))
    return LearnedText(text, [(span, 1.0)], outside=float(train_on == "all"))
