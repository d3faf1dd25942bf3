"""A row's text: what comes out piece by piece is the whole text, and no later token changes it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_base import byte_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.sampling import text as module
from actors.lm.sampling.text import StopWatch, TextStream, decode

BYTES = byte_tokenizer()
WRITING = "Grüße, 世界! 😀😀 naïve café — the rose and the rosemary rose again. " * 20


def _merged() -> PreTrainedTokenizerBase:
    """A byte-level BPE whose tokens begin and end inside characters."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    raw.train_from_iterator([WRITING[i : i + 7] for i in range(len(WRITING))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")


MERGED = _merged()
TOKENIZERS = st.sampled_from([BYTES, MERGED])
WRITTEN = st.text(st.characters(codec="utf-8") | st.sampled_from("é世😀�a "), max_size=60)


@settings(deadline=None, max_examples=300)
@given(tokenizer=TOKENIZERS, seed=st.integers(), count=st.integers(0, 80))
def test_any_tokens_give_what_decoding_them_at_once_gives(
    tokenizer: PreTrainedTokenizerBase, seed: int, count: int
) -> None:
    rng = random.Random(seed)
    ids = [rng.randrange(len(tokenizer)) for _ in range(count)]
    stream = TextStream(tokenizer)
    assert "".join(stream.add(token) for token in ids) + stream.end() == decode(tokenizer, ids)


@settings(deadline=None, max_examples=200)
@given(tokenizer=TOKENIZERS, writing=WRITTEN)
def test_every_prefix_that_came_out_is_true(
    tokenizer: PreTrainedTokenizerBase, writing: str
) -> None:
    stream, out = TextStream(tokenizer), ""
    for token in tokenizer.encode(writing, add_special_tokens=False):
        out += stream.add(token)
        assert writing.startswith(out)
    assert out + stream.end() == writing


def test_half_a_character_is_held_back_and_special_tokens_are_silent() -> None:
    stream = TextStream(BYTES)
    face, [mark] = BYTES.encode("😀"), BYTES.encode("<|eot|>")
    assert [stream.add(token) for token in [*face[:3], mark, face[3]]] == ["", "", "", "", "😀"]
    lone = TextStream(BYTES)
    assert (lone.add(face[0]), lone.end()) == ("", "�")


@pytest.mark.parametrize("writing", ["a", "😀", "\x80"], ids=["plain", "wide", "broken"])
def test_a_token_costs_the_same_however_long_the_text(
    monkeypatch: pytest.MonkeyPatch, writing: str
) -> None:
    longest, count = 0, 0

    def counted(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
        nonlocal longest, count
        longest, count = max(longest, len(ids)), count + 1
        return decode(tokenizer, ids)

    monkeypatch.setattr(module, "decode", counted)
    stream = TextStream(BYTES)
    tokens = BYTES.encode(writing)[-1:] * 3000 if writing == "\x80" else BYTES.encode(writing * 750)
    for token in tokens:
        stream.add(token)
    assert longest <= 16
    assert count <= 1.2 * len(tokens)


@settings(max_examples=300)
@given(
    parts=st.lists(st.text("abc", max_size=4), max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
)
def test_text_ends_before_the_first_stop_however_it_is_split(
    parts: list[str], stops: list[str]
) -> None:
    watch, out = StopWatch(stops), ""
    for i, part in enumerate(parts):
        before = out
        out += watch.add(part)
        so_far = "".join(parts[: i + 1])
        found = [place for stop in stops if (place := so_far.find(stop)) >= 0]
        assert watch.found == bool(found)
        if found:
            assert out == so_far[: min(found)]
            assert out.startswith(before)
            assert watch.add("more") == watch.end() == ""
            return
        assert so_far.startswith(out)
        held = so_far[len(out) :]
        assert not held or any(stop.startswith(held) for stop in stops)
    assert out + watch.end() == "".join(parts)
