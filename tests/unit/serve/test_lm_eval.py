"""The stock lm-eval client before our endpoint says what lm-eval's own model says."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from local_server import LocalClient
from looped_engine import looped
from small_adapters import write_small_adapter

from actors.lm.adapter import read_adapter
from configs.sections import ServerConfig
from serve.app import build_app
from serve.door import open_door
from serve.engines.torch import start_torch_engine
from serve.openai.keys import Keys

lm_eval = pytest.importorskip("lm_eval")
QUESTIONS = 24


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Questions whose choices share their beginnings, and a task that has to be generated."""
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"question": f"Is {i} more than {2 * i - 9}?", "gold": i % 3, "text": f"{i} is"}
        for i in range(QUESTIONS)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
    }
    choices = shared | {
        "task": "small_choices",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_choice": ["(A)", "(B)", "neither of both"],
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    generated = shared | {
        "task": "small_generation",
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "{{question}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 5, "temperature": 0},
        "metric_list": [{"metric": "exact_match"}],
    }
    for task in (choices, generated):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    return TaskManager(include_path=str(folder), include_defaults=False)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base_directory: str) -> str:
    return str(write_small_adapter(tmp_path_factory.mktemp("lm") / "one", base_directory, seed=5))


@pytest.fixture(scope="module")
def url(base_directory: str, adapter: str) -> Iterator[str]:
    config = ServerConfig(device="cpu", max_adapters=4)
    with looped(lambda: start_torch_engine(base_directory, config)) as engine:
        asyncio.run(engine.load("one@1", read_adapter(adapter)))
        app = build_app(LocalClient(engine, base_directory), Keys(), 10**6)
        with open_door(app, "127.0.0.1", 0) as port:
            yield f"http://127.0.0.1:{port}"


def _evaluate(tasks: Any, kind: str, task: str, **arguments: Any) -> Any:
    return lm_eval.simple_evaluate(
        model=kind,
        model_args=arguments,
        tasks=[task],
        task_manager=tasks,
        batch_size=8,
        bootstrap_iters=0,
        apply_chat_template="chat" in kind,
    )


@pytest.mark.parametrize("name", ["base", "one"])
def test_same_accuracies_and_same_likelihoods(
    url: str, tasks: Any, base_directory: str, adapter: str, name: str
) -> None:
    peft = {"peft": adapter} if name == "one" else {}
    theirs = _evaluate(
        tasks,
        "hf",
        "small_choices",
        pretrained=base_directory,
        device="cpu",
        dtype="float32",
        **peft,
    )
    ours = _evaluate(
        tasks,
        "local-completions",
        "small_choices",
        model=name,
        base_url=f"{url}/v1/completions",
        tokenizer=base_directory,
        tokenizer_backend="huggingface",
        max_length=512,
        num_concurrent=2,
    )
    assert ours["results"] == theirs["results"]
    for mine, other in zip(_samples(ours), _samples(theirs), strict=True):
        assert mine["doc"] == other["doc"]
        for (logprob, greedy), (expected, was_greedy) in zip(
            mine["filtered_resps"], other["filtered_resps"], strict=True
        ):
            assert float(logprob) == pytest.approx(float(expected), abs=1e-4)
            assert greedy == was_greedy


def test_generating_through_chats(url: str, tasks: Any) -> None:
    ours = _evaluate(
        tasks,
        "local-chat-completions",
        "small_generation",
        model="one",
        base_url=f"{url}/v1/chat/completions",
    )
    assert len(_samples(ours)) == QUESTIONS
    assert any(sample["filtered_resps"][0] for sample in _samples(ours))


def _samples(results: Any) -> list[Any]:
    [samples] = results["samples"].values()
    return sorted(samples, key=lambda sample: sample["doc_id"])
