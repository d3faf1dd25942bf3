"""A prompt to token ids, and its faults to BadRequest."""

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.chat import prompt_ids
from actors.lm.refusals import BadRequest
from serve.calls import Prompt


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, *, add_special_tokens: bool = True
) -> list[int]:
    """Token ids of a conversation (rendered by the chat template), a text, or the ids given.

    Only a text gets the tokenizer's special tokens: a template writes its own.
    """
    if not isinstance(prompt, str):
        if prompt and isinstance(prompt[0], int):
            return [token for token in prompt if isinstance(token, int)]
        messages = [message for message in prompt if not isinstance(message, int)]
        if not messages:
            raise BadRequest("there are no messages", "prompt")
        for message in messages:
            _check_text(message["content"])
        try:
            return prompt_ids(tokenizer, messages)
        except ValueError as error:
            raise BadRequest(str(error), "prompt") from None
    _check_text(prompt)
    return tokenizer(prompt, add_special_tokens=add_special_tokens)["input_ids"]


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(
            "the text holds half of a surrogate pair, which is not Unicode", "prompt"
        ) from None
