"""The `generate` job: a property to training examples."""

from typing import Literal

from configs.base import execution_option, option
from configs.sections import WriterConfig

ExampleType = Literal["scenarios", "questions", "instructions"]


class GenerateConfig(WriterConfig):
    """Write training examples that show a property."""

    property: str = option(..., "what the examples show, e.g. honest", min_length=1)
    type: ExampleType = option("scenarios", "what the prompts of the examples are")
    num_subtypes: int = option(5, "kinds of situation", ge=1)
    num_prompts: int = option(5, "prompts per subtype", ge=1)
    num_examples: int = option(1, "examples per prompt", ge=1)
    params_file: str | None = execution_option(
        None, "params file of an earlier run: its subtypes and prompts are used"
    )
