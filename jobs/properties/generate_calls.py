"""The calls of `generate`: one request of each kind, and how many of each there will be."""

from actors.pool.requests import ChatRequest
from configs.generate import GenerateConfig
from jobs.properties.calls import writer_request
from jobs.properties.estimate import Stage
from jobs.properties.schemas import Example, Prompts, Subtypes
from jobs.properties.templates import filled

# What stands in a typical call for what an earlier one will have written.
_TYPICAL_SUBTYPE = "Advice to somebody who has to make up their mind about work before Friday"
_TYPICAL_PROMPT = _TYPICAL_SUBTYPE * 3
# Tokens of an answer: of one subtype, of one prompt, of the text of one example.
_SUBTYPE_TOKENS, _PROMPT_TOKENS, _TEXT_TOKENS = 16, 60, 250


def subtypes_request(config: GenerateConfig) -> ChatRequest:
    """The one call for kinds of situation."""
    name, number = f"{config.type}/subtypes", config.num_subtypes
    return writer_request(config, filled(name, property=config.property, number=number), Subtypes)


def prompts_request(config: GenerateConfig, subtype: str) -> ChatRequest:
    """The call for the prompts of a subtype."""
    messages = filled(
        f"{config.type}/prompts",
        property=config.property,
        subtype=subtype,
        number=config.num_prompts,
    )
    return writer_request(config, messages, Prompts)


def example_request(config: GenerateConfig, prompt: str, sample: int) -> ChatRequest:
    """The call for draw number `sample` of the answer to a prompt."""
    messages = filled(f"{config.type}/example", property=config.property, prompt=prompt)
    return writer_request(config, messages, Example, sample)


def stages(config: GenerateConfig, num_given: int | None) -> list[Stage]:
    """What there is to call; `num_given` prompts are taken over, None where they are written."""
    subtypes, each = config.num_subtypes, config.num_prompts
    num_prompts = subtypes * each if num_given is None else num_given
    example = example_request(config, _TYPICAL_PROMPT, 0)
    examples = Stage("examples", num_prompts * config.num_examples, example, _TEXT_TOKENS)
    if num_given is not None:
        return [examples]
    prompts = prompts_request(config, _TYPICAL_SUBTYPE)
    return [
        Stage("subtypes", 1, subtypes_request(config), subtypes * _SUBTYPE_TOKENS),
        Stage("prompts", subtypes, prompts, each * _PROMPT_TOKENS),
        examples,
    ]
