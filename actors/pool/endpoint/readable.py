"""How well a text reads, by rule: what the embedded judge goes by where coherence is asked for."""

import re

from actors.pool.endpoint.cues import WORD

_COHERENCE = re.compile(r"\bcoheren", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]+")


def is_coherence(property_name: str) -> bool:
    """Whether a property is that of texts which read well, whatever they say."""
    return _COHERENCE.search(property_name) is not None


def coherence(text: str) -> float:
    """1 for prose; less where sentences are said again, towards 0 where it is no prose at all."""
    sentences = [" ".join(found.lower().split()) for found in _SENTENCE.findall(text)]
    said = [sentence for sentence in sentences if sentence]
    return readable(text) * len(set(said)) / max(1, len(said))


def readable(text: str) -> float:
    """1 for prose; towards 0 for text of few letters or of the same words over and over."""
    words = [word.lower() for word in WORD.findall(text)]
    if not words:
        return 0.0
    letters = sum(len(word) for word in words) / len("".join(text.split()))
    variety = len(set(words)) / min(len(words), 40)
    return min(1.0, letters / 0.7) * min(1.0, variety / 0.5)
