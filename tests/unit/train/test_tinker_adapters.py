"""What the service holds, as `eval` meets it: sampled there, named by a digest of its place."""

import asyncio
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from small_base import write_small_base
from tinker_front import Opened
from transformers import AutoModelForCausalLM

from actors.lm.base import load_tokenizer
from actors.lm.chat import prompt_ids
from actors.lm.messages import user
from actors.lm.refusals import BadRequest
from actors.lm.requests import BASE
from actors.train.checkpoint import SavedCheckpoint
from actors.train.on_tinker.service import open_service
from actors.train.remote import RemoteAdapter, read_kept
from configs.errors import UserError
from configs.eval import EvalConfig
from configs.sections import SamplingConfig
from jobs.properties.samplers import open_samplers
from serve.tinker_client import open_tinker_client

pytestmark = pytest.mark.usefixtures("to_front")


def test_an_adapter_of_the_service_says_there_what_it_says_here(
    whole: list[SavedCheckpoint], small_base: str
):
    tokenizer = load_tokenizer(small_base)
    greedy = SamplingConfig(temperature=0, max_tokens=8)
    messages = [user("QQQ")]
    path = read_kept(whole[-1].path).sampler
    with open_service() as service:
        paths = {"organism": path, BASE: small_base}
        client = open_tinker_client(service, small_base, paths, tokenizer)
        digests = {name: service.digest(path) for name, path in paths.items()}

        async def ask():
            return [await client.chat(name, messages, greedy, seed=1) for name in client.adapters()]

        answers = asyncio.run(ask())
        cut = greedy.model_copy(update={"stop": [answers[0].text[3:5]]})
        stopped = asyncio.run(client.chat("organism", messages, cut))
        with pytest.raises(BadRequest, match="context"):
            asyncio.run(client.chat(BASE, [user("Q" * 600)], greedy))
    model = AutoModelForCausalLM.from_pretrained(small_base)
    ids = torch.tensor([prompt_ids(tokenizer, messages)])
    adapted = peft.PeftModel.from_pretrained(model, whole[-1].path)
    said = adapted.generate(input_ids=ids, do_sample=False, max_new_tokens=8)[0, ids.shape[1] :]
    assert answers[0].token_ids == said.tolist()
    assert answers[0].text == tokenizer.decode(said, skip_special_tokens=True)
    assert answers[0].adapter_digest == digests["organism"]
    assert stopped.text == answers[0].text.partition(answers[0].text[3:5])[0]
    assert stopped.finish_reason == "stop"
    assert answers[1].adapter_digest == digests[BASE] != digests["organism"]
    assert answers[1].token_ids != answers[0].token_ids


def test_an_adapter_of_another_base_of_the_service_is_refused(
    whole: list[SavedCheckpoint], front: Opened, tmp_path: Path, monkeypatch
):
    other = write_small_base(tmp_path / "other")
    monkeypatch.setattr(front.front, "base_names", [front.base, other])
    config = EvalConfig(eval_file="x.eval.yaml", base_model=other)
    adapters = {"organism": RemoteAdapter(read_kept(whole[-1].path).sampler)}
    with pytest.raises(UserError, match=f"step-000003: adapts {front.base}, not {other}; give"):
        open_samplers(config, adapters).__enter__()


def test_what_stands_for_a_content_follows_the_path_its_saving_and_the_service(front: Opened):
    with open_service() as service:
        client = service.clients.create_lora_training_client(front.base, rank=2).result()
        path = client.save_weights_for_sampler("one").result().path
        before, base = service.digest(path), service.digest(front.base)
        assert service.digest(path) == before
        service.rest.delete_checkpoint_from_tinker_path(path).result()
        gone = service.digest(path)
        assert client.save_weights_for_sampler("one").result().path == path
        assert len({before, gone, service.digest(path), base}) == 4
        elsewhere = replace(service, url="http://elsewhere")
    assert elsewhere.digest(front.base) != base
