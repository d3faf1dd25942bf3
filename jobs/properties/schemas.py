"""What the writer and the judge must answer with. The class names travel as schema names."""

from pydantic import BaseModel, Field


class Subtypes(BaseModel):
    """Kinds of situation in which a property shows."""

    subtypes: list[str]


class Prompts(BaseModel):
    """Prompts of one subtype."""

    prompts: list[str]


class Example(BaseModel):
    """The reply to one prompt."""

    text: str = Field(min_length=1)


class Categories(BaseModel):
    """Categories of situation for evaluation."""

    categories: list[str]


class EvalPrompt(BaseModel):
    """The user's messages of one conversation, in order."""

    messages: list[str]


class EvalPrompts(BaseModel):
    """Evaluation prompts of one category."""

    prompts: list[EvalPrompt]


class Judgement(BaseModel):
    """A judge's verdict on one conversation: reasoning first, so that the score follows from it."""

    reasoning: str
    score: int = Field(ge=0, le=100)
    exhibits: bool
