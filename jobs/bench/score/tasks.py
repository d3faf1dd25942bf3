"""The files of advanced-ai-risk as lm-eval tasks: their requests, and the accuracies of answers."""

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from actors.lm.requests import Likelihood

_FOLDER = Path(__file__).parent


class Asked(NamedTuple):
    """The requests of some tasks, built once for whoever answers them."""

    tasks: list[Any]  # lm_eval.api.task.ConfigurableTask
    instances: list[Any]  # lm_eval.api.instance.Instance: a prompt and one of its choices

    @property
    def questions(self) -> int:
        """Questions, those that are asked more than once included."""
        return sum(len(task.eval_docs) for task in self.tasks)


def asked(files: Sequence[Path], cache: Path) -> Asked:
    """Everything that the files ask."""
    from lm_eval.api.task import ConfigurableTask

    shared = yaml.safe_load((_FOLDER / "task.yaml").read_text(encoding="utf-8"))
    tasks = []
    for file in files:
        own = {"task": file.stem, "dataset_kwargs": {"data_files": {"test": str(file)}}}
        with redirect_stderr(StringIO()):  # a bar or two for each file
            tasks.append(ConfigurableTask(config=shared | own, cache_dir=str(cache)))
            tasks[-1].build_all_requests()
    return Asked(tasks, [instance for task in tasks for instance in task.instances])


def accuracies(asked: Asked, answers: Sequence[Likelihood]) -> dict[str, float]:
    """What lm-eval makes of the answers to all instances: accuracy by task, and `all` questions."""
    by_task: dict[str, list[float]] = {task.config.task: [] for task in asked.tasks}
    told = iter(answers)
    for task in asked.tasks:
        docs: dict[int, list[Likelihood]] = {}
        for instance in task.instances:
            docs.setdefault(instance.doc_id, []).append(next(told))
        for doc_id, likelihoods in docs.items():
            result = task.process_results(task.eval_docs[doc_id], likelihoods)
            by_task[task.config.task].append(result["acc"])
    everything = [value for values in by_task.values() for value in values]
    means = {name: sum(values) / len(values) for name, values in by_task.items()}
    return means | {"all": sum(everything) / len(everything)}
