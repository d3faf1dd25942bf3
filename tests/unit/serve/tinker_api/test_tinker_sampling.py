"""Sampling through the SDK: from the weights that were meant, as it was asked."""

import pickle
import time
from typing import Any

import httpx2
import numpy as np
import pytest
import tinker
from openai import NotFoundError, OpenAI
from tinker import types
from tinker_data import datum, logprobs, train
from tinker_front import KEY, Opened

PROMPT = [72, 101, 108, 108, 111]
ADAM = types.AdamParams(learning_rate=1e-2)


@pytest.fixture
def client(service: tinker.ServiceClient, opened: Opened) -> tinker.TrainingClient:
    return service.create_lora_training_client(opened.base, rank=4, seed=1).result()


@pytest.fixture
def base(service: tinker.ServiceClient, opened: Opened) -> tinker.SamplingClient:
    return service.create_sampling_client(base_model=opened.base).result()


def say(
    sampler: tinker.SamplingClient, prompt: list[int] = PROMPT, n: int = 1, **options: Any
) -> types.SampleResponse:
    """What a sampler says; `options` of the parameters, and of the request itself."""
    fields = types.SamplingParams.model_fields
    params: dict[str, Any] = {"max_tokens": 8, **{k: v for k, v in options.items() if k in fields}}
    rest = {k: v for k, v in options.items() if k not in fields}
    asked = types.ModelInput.from_ints(prompt)
    return sampler.sample(asked, n, types.SamplingParams(**params), **rest).result()


def told(sampler: tinker.SamplingClient, tokens: list[int]) -> list[Any]:
    """The log-probabilities of all tokens but the first."""
    first, *rest = sampler.compute_logprobs(types.ModelInput.from_ints(tokens)).result()
    assert first is None
    return rest


def test_a_sampler_says_what_the_trainer_computes(
    client: tinker.TrainingClient, base: tinker.SamplingClient
) -> None:
    tokens = [*PROMPT, 9, 8, 7]
    for _ in range(2):  # a fresh adapter is the base
        sampler = client.save_weights_and_get_sampling_client().result()
        [expected] = logprobs(client.forward([datum(tokens)], "cross_entropy").result())
        assert told(sampler, tokens) == pytest.approx(expected, abs=1e-4)
        train(client, 3, seed=5)
    assert told(base, tokens) != pytest.approx(expected, abs=1e-3)


def test_samplers_keep_their_weights_and_training_its_own(
    client: tinker.TrainingClient, service: tinker.ServiceClient
) -> None:
    train(client, 2, seed=0)
    path = client.save_weights_for_sampler("early").result().path
    inflight = client.save_weights_and_get_sampling_client(kind="inflight").result()
    early = service.create_sampling_client(model_path=path).result()
    before = told(early, PROMPT)
    forward = client.forward([datum(PROMPT)], "cross_entropy").result()
    say(early, n=4)  # leaves the live weights as they are
    assert logprobs(client.forward([datum(PROMPT)], "cross_entropy").result()) == logprobs(forward)
    train(client, 3, seed=2)
    late = client.save_weights_and_get_sampling_client().result()
    assert told(early, PROMPT) == told(inflight, PROMPT) == pytest.approx(before, abs=1e-5)
    assert told(late, PROMPT) != pytest.approx(before, abs=1e-3)
    again = service.create_sampling_client(model_path=path).result()
    assert told(again, PROMPT) == pytest.approx(before, abs=1e-5)


def test_openais_clients_ask_for_a_checkpoint_by_its_path(
    client: tinker.TrainingClient, opened: Opened, rest: tinker.RestClient
) -> None:
    train(client, 2, seed=0)
    path = client.save_weights_for_sampler("named").result().path
    openai = OpenAI(base_url=f"{opened.url}/v1", api_key=KEY, max_retries=0)

    def ask(model: str, stream: bool = False) -> Any:
        return openai.completions.create(
            model=model, prompt=PROMPT, max_tokens=8, temperature=0, stream=stream
        )

    whole = ask(path)  # nobody has made a sampler of it
    assert whole.model == f"{path}@1"
    assert "".join(part.choices[0].text for part in ask(path, stream=True)) == whole.choices[0].text
    sampler = client.save_weights_and_get_sampling_client().result()
    tokens = say(sampler, temperature=0.0).sequences[0].tokens
    assert whole.choices[0].text == sampler.get_tokenizer().decode(tokens)
    with pytest.raises(NotFoundError, match="no checkpoint"):
        ask(f"{path}-else")
    rest.delete_checkpoint_from_tinker_path(path).result()
    for stream in (False, True):
        with pytest.raises(NotFoundError, match="no checkpoint"):
            ask(path, stream=stream)


def test_a_state_can_be_sampled_too(
    client: tinker.TrainingClient, service: tinker.ServiceClient
) -> None:
    train(client, 1, seed=0)
    sampler = service.create_sampling_client(model_path=client.save_state("s").result().path)
    now = client.save_weights_and_get_sampling_client().result()
    assert told(sampler.result(), PROMPT) == pytest.approx(told(now, PROMPT), abs=1e-5)


def test_samples_and_their_logprobs(base: tinker.SamplingClient) -> None:
    response = say(base, n=3, seed=4, include_prompt_logprobs=True, topk_sample_logprobs=2)
    assert len({tuple(one.tokens) for one in response.sequences}) == 3
    assert len({one.sequence_id for one in response.sequences}) == 3
    for one in response.sequences:
        assert one.stop_reason == ("length" if len(one.tokens) == 8 else "stop")
        scored = told(base, [*PROMPT, *one.tokens])
        assert scored[len(PROMPT) - 1 :] == pytest.approx(one.logprobs, abs=1e-4)
        assert one.topk_logprobs is not None
        assert len(one.topk_logprobs) == len(one.tokens)
    assert response.prompt_logprobs is not None
    assert response.prompt_logprobs[0] is None
    assert response.prompt_logprobs[1:] == pytest.approx(told(base, PROMPT), abs=1e-5)
    again = say(base, n=3, seed=4)
    assert [one.tokens for one in again.sequences] == [one.tokens for one in response.sequences]


def test_the_likeliest_tokens_of_a_prompt(base: tinker.SamplingClient) -> None:
    response = say(base, include_prompt_logprobs=True, topk_prompt_logprobs=3)
    assert response.topk_prompt_logprobs is not None
    nothing, *places = response.topk_prompt_logprobs
    assert nothing is None
    assert [len(place or ()) for place in places] == [3] * (len(PROMPT) - 1)
    last = base.compute_logprobs(types.ModelInput.from_ints(PROMPT), prompt_logprobs_last_n=2)
    assert [one is None for one in last.result()] == [True, True, True, False, False]


def test_greedy_is_what_the_likeliest_token_alone_is(base: tinker.SamplingClient) -> None:
    greedy = say(base, temperature=0.0).sequences[0]
    assert say(base, top_k=1, seed=1).sequences[0].tokens == greedy.tokens
    assert say(base, top_p=1e-6, seed=2).sequences[0].tokens == greedy.tokens


def test_what_ends_an_answer(base: tinker.SamplingClient, opened: Opened) -> None:
    free = say(base, max_tokens=40, seed=7, stop=[]).sequences[0]
    assert (len(free.tokens), free.stop_reason) == (40, "length")
    token = free.tokens[9]
    first = free.tokens.index(token)
    stopped = say(base, max_tokens=40, seed=7, stop=[token]).sequences[0]
    assert (stopped.tokens, stopped.stop_reason) == (free.tokens[: first + 1], "stop")
    text = base.get_tokenizer().decode(free.tokens)
    for stop in (text[3:5], [text[3:5], "never this"]):
        stopped = say(base, max_tokens=40, seed=7, stop=stop).sequences[0]
        assert stopped.stop_reason == "stop"
        assert stopped.tokens == free.tokens[: len(stopped.tokens)]
        assert len(stopped.tokens) < 40


def test_a_sampler_can_be_sent_away(client: tinker.TrainingClient) -> None:
    sampler = client.save_weights_and_get_sampling_client().result()
    there = pickle.loads(pickle.dumps(sampler))
    handle = tinker.SamplingClient.from_sampler_handle(sampler.get_sampler_handle(), api_key=KEY)
    expected = say(sampler, seed=1).sequences[0].tokens
    assert say(there, seed=1).sequences[0].tokens == expected
    assert say(handle, seed=1).sequences[0].tokens == expected


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_tokens": 10_000}, "context of 512 tokens"),
        ({"prompt": [99_999]}, "token ids"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"topk_sample_logprobs": 100}, "top_logprobs=100"),
        ({"stop": [99_999]}, "tokens that end the text"),
    ],
)
def test_samples_that_cannot_be_had(
    base: tinker.SamplingClient, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(tinker.RequestFailedError, match=told) as caught:
        say(base, **options)
    assert caught.value.category == "user"


def test_what_is_not_supported_is_refused_by_name(base: tinker.SamplingClient) -> None:
    with pytest.raises(tinker.BadRequestError, match="prompt_alt_tokens_k is not supported"):
        say(base, prompt_alt_tokens_k=2)
    wanted = types.TensorData.from_numpy(np.ones((len(PROMPT) - 1, 1), np.int64))
    with pytest.raises(tinker.BadRequestError, match="target_prompt_logprobs"):
        say(base, target_prompt_logprobs=wanted)
    with pytest.raises(tinker.BadRequestError, match="num_samples=5000"):
        say(base, n=5000)
    with pytest.raises(tinker.BadRequestError, match="no tokens"):
        say(base, prompt=[])
    image = types.ModelInput(chunks=[types.ImageChunk(data=b"x", format="png")])
    with pytest.raises(tinker.BadRequestError, match="no images"):
        base.sample(image, 1, types.SamplingParams(max_tokens=1)).result()


def test_an_unknown_model_is_never_the_base(service: tinker.ServiceClient) -> None:
    for path in (f"tinker://{'0' * 32}:train:0/weights/a", "tinker://x/y/z", "tinker://../../etc"):
        with pytest.raises(tinker.NotFoundError):
            service.create_sampling_client(model_path=path).result()
    with pytest.raises(tinker.NotFoundError, match="not served here"):
        service.create_sampling_client(base_model="other/base").result()


def test_a_sample_that_is_not_wanted_any_more(base: tinker.SamplingClient, opened: Opened) -> None:
    params = types.SamplingParams(max_tokens=500, stop=[])
    asked = base.sample(types.ModelInput.from_ints(PROMPT), 64, params)
    request = f"{base._sampling_session_id}:0"
    while request not in opened.front.futures:  # the test's own time limit bounds it
        time.sleep(0.01)
    reply = httpx2.post(f"{opened.url}/api/v1/cancel_future", json={"request_id": request})
    assert reply.status_code == 204
    with pytest.raises(tinker.RequestFailedError, match="cancelled"):
        asked.result()
