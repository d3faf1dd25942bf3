"""The training data that a config names: files to rows, rows to datums, and what became of them."""

from collections.abc import Sequence
from typing import NamedTuple

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.train.data.contamination import contacts
from actors.train.data.datums import Taught
from actors.train.data.eval_prompts import EvalPrompt, read_eval_prompts
from actors.train.data.mixing import drawn, rows_used
from actors.train.data.problems import Problems
from actors.train.data.report import Contamination, DataReport
from actors.train.data.row import Row
from actors.train.data.sides import divided, unseen
from actors.train.data.source import Read, Source, data_identity, load_source
from actors.train.datum import Datum
from configs.errors import UserError
from configs.sft import SftConfig


class TrainingData(NamedTuple):
    """What a run learns, and what it measures itself on."""

    train: list[Datum]
    validation: list[Datum]
    rows: list[Row]  # of each datum of `train`
    report: DataReport
    identity: str  # changes with what the files hold and how they are mixed


def load_training_data(
    config: SftConfig, tokenizer: PreTrainedTokenizerBase, read: Read
) -> TrainingData:
    """Everything that a run learns and measures itself on, checked.

    Args:
        config: names the files, and says what is learned of them.
        tokenizer: of the base model.
        read: gives the bytes of a file by its name; UserError where it cannot.

    Raises:
        UserError: with the faults of all files, each with its place.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"base_model={config.base_model}: its tokenizer does not say where its tokens stand in "
            "a text, so no mask can be made; use a base with a tokenizer.json."
        )
    problems = Problems()
    files = [
        load_source(source.file, config, tokenizer, read, problems) for source in config.sources
    ]
    apart = None
    if config.validation_file:
        apart = load_source(config.validation_file, config, tokenizer, read, problems)
    contamination = _contamination(config, files, read, problems)
    problems.check()
    parts = _mixed(config, files)
    train, validation = divided(
        [one for part in parts for one in part], config.validation_share, config.seed
    )
    if apart:
        validation = unseen(apart.made.taught, train)
    _check_measured(config, validation)
    report = DataReport(
        tuple(file.report(len(part)) for file, part in zip(files, parts, strict=True)),
        apart.report(len(validation)) if apart else None,
        train=len(train),
        validation=len(validation),
        tokens=sum(len(datum) for _, datum in train),
        target_tokens=sum(datum.target_tokens for _, datum in train),
        contamination=contamination,
    )
    weights = [source.weight for source in config.sources]
    identity = data_identity([file.data for file in files], weights, apart.data if apart else None)
    return TrainingData(
        [datum for _, datum in train],
        [datum for _, datum in validation],
        [row for row, _ in train],
        report,
        identity,
    )


def _contamination(
    config: SftConfig, files: Sequence[Source], read: Read, problems: Problems
) -> Contamination:
    """Rows that hold evaluation prompts; each is a problem where the config is strict."""
    prompts: list[EvalPrompt] = []
    for name in config.eval_files:
        with problems.told():
            prompts += read_eval_prompts(name, read(name), problems)
    found = contacts([row for file in files for row in file.rows], prompts)
    for contact in found if config.strict else ():
        problems.add(
            f"{contact.row}: holds the evaluation prompt of {contact.prompt}; remove the row, or "
            "give strict=false."
        )
    return Contamination(len(prompts), tuple(found))


def _mixed(config: SftConfig, files: Sequence[Source]) -> list[list[Taught]]:
    """What an epoch has of each file: all of it, or its share where there are weights."""
    available = [len(file.made.taught) for file in files]
    weights = [source.weight for source in config.sources if source.weight is not None]
    used = rows_used(available, weights) if weights else available
    return [
        [file.made.taught[place] for place in drawn(available[i], used[i], config.seed, i)]
        for i, file in enumerate(files)
    ]


def _check_measured(config: SftConfig, validation: Sequence[Taught]) -> None:
    if config.validation_share and not validation:
        raise UserError(
            f"validation_share={config.validation_share}: there are too few different rows to "
            "hold one out; give validation_file=PATH, or more rows."
        )
    if config.validation_file and not validation:
        raise UserError(f"{config.validation_file}: every row is also trained on; give others.")
