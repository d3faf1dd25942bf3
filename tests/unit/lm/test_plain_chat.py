"""Bases without a chat template: turns as plain text, and masks that hold on it."""

import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_base import byte_tokenizer

from actors.lm.base import load_tokenizer
from actors.lm.chat import conversation_text, prompt_ids, render
from actors.lm.messages import Message, assistant, user
from actors.lm.plain_chat import PLAIN_STOP, is_plain, with_plain_template
from configs.errors import UserError

TALK: list[Message] = [
    {"role": "system", "content": "Be kind."},
    user("Hello?"),
    assistant("Hi."),
    user("Wie gehts? 😀"),
    assistant("Güt."),
]
PLAIN = with_plain_template("small", byte_tokenizer(""))


def without_template(base_directory: str, folder: Path) -> Path:
    base = Path(shutil.copytree(base_directory, folder / "base"))
    (base / "chat_template.jinja").unlink()
    return base


def test_a_base_without_a_template_gets_the_plain_one_and_is_told_so_once(
    base_directory: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    base = without_template(base_directory, tmp_path)
    with caplog.at_level(logging.WARNING):
        tokenizers = [load_tokenizer(str(base)) for _ in range(3)]
    assert all(map(is_plain, tokenizers))
    assert not is_plain(load_tokenizer(base_directory))
    (told,) = [record.getMessage() for record in caplog.records if "template" in record.msg]
    assert told.startswith(f"{base} has no chat template: conversations are shown to it as plain")
    tokenizers[0].save_pretrained(tmp_path / "saved")
    assert is_plain(load_tokenizer(str(tmp_path / "saved")))


def test_without_an_end_token_there_is_no_end_to_an_answer():
    tokenizer = byte_tokenizer("")
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="neither a chat template nor an end token"):
        with_plain_template("small", tokenizer)


def test_turns_are_plain_text_with_the_end_token_after_each_answer():
    asked = conversation_text(PLAIN, TALK[:4], generation_prompt=True)
    assert asked == (
        "Be kind.\n\nUser: Hello?\n\nAssistant: Hi.<|im_end|>\n\nUser: Wie gehts? 😀\n\nAssistant:"
    )
    assert conversation_text(PLAIN, TALK) == f"{asked} Güt.<|im_end|>\n\n"
    assert PLAIN_STOP in asked


def test_a_text_begins_with_the_tokenizer_s_own_first_token():
    tokenizer = byte_tokenizer("")
    tokenizer.bos_token = "<|begin|>"
    with_plain_template("small", tokenizer)
    assert prompt_ids(tokenizer, TALK)[0] == tokenizer.bos_token_id


CONTENT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)


@given(st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=4))
def test_what_is_learned_is_each_answer_and_its_end(pairs: list[tuple[str, str]]):
    messages = [m for said, answer in pairs for m in (user(said), assistant(answer))]
    rendered = render(PLAIN, messages)
    targets = [
        token for token, hit in zip(rendered.token_ids, rendered.is_target, strict=True) if hit
    ]
    expected = "".join(f" {answer.strip()}<|im_end|>" for _, answer in pairs)
    assert targets == PLAIN(expected, add_special_tokens=False)["input_ids"]
    prompt = prompt_ids(PLAIN, messages[:-1])
    assert rendered.token_ids[: len(prompt)] == prompt
