"""Log-probabilities in the two forms that OpenAI gives them, for chats and for completions."""

from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence

from actors.lm.requests import TokenLogprob
from serve.calls import TokenText
from serve.openai.shapes import Alternative, ChatLogprobs, ChatToken, CompletionLogprobs

Texts = Mapping[int, TokenText]


def chat_logprobs(
    token_ids: Sequence[int], told: Sequence[TokenLogprob], texts: Texts
) -> ChatLogprobs:
    """Of T sampled tokens."""
    content: list[ChatToken] = [
        {
            **_alternative(texts[token], one.logprob),
            "top_logprobs": [
                _alternative(texts[other.token_id], other.logprob) for other in one.likeliest
            ],
        }
        for token, one in zip(token_ids, told, strict=True)
    ]
    return {"content": content, "refusal": None}


def _alternative(text: TokenText, logprob: float) -> Alternative:
    return {"token": text.text, "logprob": logprob, "bytes": list(text.raw)}


class CompletionTokens:
    """Tokens of one completion in its order, with the character at which each begins.

    A stream asks it piece by piece, so it remembers where the last piece ended.
    """

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def told(
        self, token_ids: Sequence[int], told: Sequence[TokenLogprob | None], texts: Texts
    ) -> CompletionLogprobs:
        """Of the next T tokens."""
        offsets = []
        for token in token_ids:
            offsets.append(self._characters)
            self._characters += len(self._decoder.decode(texts[token].raw))
        return {
            "tokens": [_key(texts[token]) for token in token_ids],
            "token_logprobs": [None if one is None else one.logprob for one in told],
            "top_logprobs": [
                None if one is None else _likeliest(token, one, texts)
                for token, one in zip(token_ids, told, strict=True)
            ],
            "text_offset": offsets,
        }


def _likeliest(token: int, one: TokenLogprob, texts: Texts) -> dict[str, float]:
    """Text -> log-probability; the token that stands there is told even if it is not likely."""
    likeliest: dict[str, float] = {}
    for other in one.likeliest:  # best first: of two tokens that read the same the likelier stays
        likeliest.setdefault(_key(texts[other.token_id]), other.logprob)
    likeliest.setdefault(_key(texts[token]), one.logprob)
    return likeliest


def _key(text: TokenText) -> str:
    """Parts of characters all read alike as text: OpenAI tells them by their bytes."""
    if text.text.encode() == text.raw:
        return text.text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text.raw)
