"""Judge conversations: one call each, addressed by the rubric's hash and the judge."""

from collections.abc import Sequence

from actors.lm.messages import Message
from actors.pool.requests import ChatRequest
from actors.store.records import record_key
from configs.eval import EvalConfig
from jobs.properties.schemas import Judgement
from jobs.properties.templates import filled, template_hash

RUBRIC = "judge/verdict"


def judge_request(
    config: EvalConfig, conversation_key: str, property_name: str, messages: Sequence[Message]
) -> ChatRequest:
    """The call that judges one conversation."""
    key = record_key(
        conversation=conversation_key,
        messages=messages,
        property=property_name,
        rubric=rubric_hash(),
        provider=config.provider,
        judge=config.judge_model,
        temperature=config.judge_temperature,
        seed=config.seed,
    )
    return ChatRequest(
        key=key,
        messages=filled(RUBRIC, property=property_name, conversation=transcript(messages)),
        model=config.judge_model,
        schema=Judgement,
        temperature=config.judge_temperature,
        seed=config.seed,
    )


def rubric_hash() -> str:
    """Names the rubric in every table."""
    return template_hash(RUBRIC)


def transcript(messages: Sequence[Message]) -> str:
    """The conversation as the judge reads it.

    What is said in it can neither close its frame nor pass for another's turn: further lines of a
    message are indented.
    """
    turns = [
        f"{m['role'].capitalize()}: " + "\n  ".join(m["content"].splitlines()) for m in messages
    ]
    return "\n".join(turns).replace("</conversation>", "<\\/conversation>")
