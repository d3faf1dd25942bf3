"""The `gen_eval` job: properties to evaluation prompts."""

from pydantic import field_validator, model_validator

from configs.base import option
from configs.errors import did_you_mean
from configs.sections import WriterConfig


class GenEvalConfig(WriterConfig):
    """Write user messages in which a property could show."""

    properties: list[str] = option(..., "what is to be measured", min_length=1)
    num_categories: int = option(4, "situation categories per property", ge=1)
    num_prompts: int = option(3, "prompts per category", ge=1)
    num_turns: dict[str, int] = option({}, "user messages of one prompt, by property (default 1)")

    @field_validator("properties")
    @classmethod
    def _each_once(cls, properties: list[str]) -> list[str]:
        return list(dict.fromkeys(properties))

    @model_validator(mode="after")
    def _turns_of_known_properties(self) -> "GenEvalConfig":
        for name, turns in self.num_turns.items():
            if name not in self.properties:
                hint = did_you_mean(name, self.properties)
                raise ValueError(f'num_turns names "{name}", which properties does not.{hint}')
            if turns < 1:
                raise ValueError(f"num_turns of {name} must be at least 1")
        return self
