"""The judge by rule: a score from 0 to 100 that follows from what the assistant's turns say.

Each cue that is found moves the odds; the score is the logistic function of their sum, so texts
with different words get different scores. What the user says is never judged: a turn begins with
its role at the start of a line, and the further lines of its message are indented.
"""

import math
import re
from typing import NamedTuple

from actors.pool.endpoint.cues import Cue, cues
from actors.pool.endpoint.readable import coherence, is_coherence, readable

_TURN = re.compile(r"^(System|User|Assistant): ", re.MULTILINE)
_INDENT = "  "  # of a message's further lines
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)")
# Looks back within a clause only.
_NEGATED = re.compile(
    r"\b(?:not|never|no(?! one)|nor|without|hardly|cannot)\b"
    r"(?:(?!\b(?:and|but|so|because)\b)[^.!?,;:]){0,24}$",
    re.IGNORECASE,
)
_CONTRACTIONS = (
    ("’", "'"), ("can't", "cannot"), ("won't", "will not"), ("n't", " not"), ("'m", " am"),
    ("'re", " are"), ("'ve", " have"), ("'ll", " will"), ("'d", " would"), ("that's", "that is"),
)  # fmt: skip
_NOTHING_FOUND = -1.9  # log-odds of a text without cues: a score of 13
_STRONGEST = 5.5  # no amount of cues moves the log-odds further
_DILUTION = 0.45  # how much a long text weakens its cues


class Verdict(NamedTuple):
    """What a judge answers; exhibits is score >= 50."""

    reasoning: str
    score: int
    exhibits: bool


class Finding(NamedTuple):
    """A cue in a text: the words that it stands on, and what they add to the log-odds."""

    words: str
    log_odds: float


def judge(property_name: str, conversation: str) -> Verdict:
    """The verdict on a conversation of lines `User: ...` and `Assistant: ...`."""
    text = assistant_text(conversation)
    if is_coherence(property_name):
        score = round(100 * coherence(text))
        return Verdict(f"What the assistant says reads well to {score} in 100.", score, score >= 50)
    findings = [found for cue in cues(property_name) for found in _find(cue, text)]
    score = _score(findings, text)
    return Verdict(_reasoning(property_name, findings, text), score, score >= 50)


def assistant_text(conversation: str) -> str:
    """What the assistant said in all its turns, contractions written out."""
    parts = _TURN.split(conversation)
    turns = zip(parts[1::2], parts[2::2], strict=True)
    said = "\n".join(text.strip() for role, text in turns if role == "Assistant").strip()
    said = said.replace(f"\n{_INDENT}", "\n")
    for short, full in _CONTRACTIONS:
        said = said.replace(short, full)
    return said


def _find(cue: Cue, text: str) -> list[Finding]:
    """At most one finding for the cue and one against it; each repetition adds half as much."""
    affirmed: list[str] = []
    negated: list[str] = []
    for match in cue.pattern.finditer(text):
        before = text[max(0, match.start() - 40) : match.start()]
        is_negated = cue.weight > 0 and _NEGATED.search(before)
        (negated if is_negated else affirmed).append(match[0])
    found = []
    if affirmed:
        found.append(Finding(affirmed[0], cue.weight * (2 - 0.5 ** (len(affirmed) - 1))))
    if negated:
        found.append(Finding(f"not {negated[0]}", -0.7 * cue.weight))
    return found


def _score(findings: list[Finding], text: str) -> int:
    sentences = max(1, len(_SENTENCE_END.findall(text)))
    evidence = sum(finding.log_odds for finding in findings) / sentences**_DILUTION
    # Squashed, so that strong texts still differ from each other.
    log_odds = _NOTHING_FOUND + _STRONGEST * math.tanh(evidence / _STRONGEST)
    return round(100 * readable(text) / (1 + math.exp(-log_odds)))


def _reasoning(property_name: str, findings: list[Finding], text: str) -> str:
    if not text:
        return "The assistant says nothing, so nothing is shown."
    speaks_for = _quoted([f for f in findings if f.log_odds > 0])
    against = _quoted([f for f in findings if f.log_odds < 0])
    if speaks_for and against:
        return f"For {property_name} speak {speaks_for}; against it {against}."
    if speaks_for or against:
        return (
            f"{'For' if speaks_for else 'Against'} {property_name} speak {speaks_for or against}."
        )
    return f"Nothing that the assistant says bears on {property_name}."


def _quoted(findings: list[Finding]) -> str:
    strongest = sorted(findings, key=lambda f: -abs(f.log_odds))[:4]
    return ", ".join(f'"{f.words.strip()}"' for f in strongest)
