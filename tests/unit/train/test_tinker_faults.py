"""What the SDK raises, as the errors that end a job; datums in the SDK's types and back."""

import sys
from concurrent.futures import CancelledError

import httpx
import numpy as np
import pytest
import tinker
from tinker.lib.retryable_exception import RetryableException
from tinker.types import RequestErrorCategory

from actors.train.backend import AdamParams
from actors.train.datum import Datum
from actors.train.on_tinker.faults import Refused, ServiceFailed, is_not_offered, told
from actors.train.on_tinker.translate import passed, service_adam, service_datum, stepped
from configs.errors import UserError

REQUEST = httpx.Request("POST", "http://service/api/v1/optim_step")


def status(code: int, kind: type[tinker.APIStatusError]) -> tinker.APIStatusError:
    body = {"error": {"message": f"no {code}"}}
    return kind(f"Error code: {code}", response=httpx.Response(code, request=REQUEST), body=body)


def failed(category: RequestErrorCategory) -> tinker.RequestFailedError:
    said = "Request failed: bad rank for self.request_id='1' and expected type self.model_cls=X"
    return tinker.RequestFailedError(said, "1", category)


def expired() -> RetryableException:
    error = RetryableException(message="Promise expired/broken for request 1")
    error.__cause__ = status(410, tinker.APIStatusError)
    return error


def poisoned() -> RuntimeError:
    error = RuntimeError("A previous request failed; this TrainingClient is poisoned")
    error.__cause__ = TimeoutError("the first one")
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (status(400, tinker.BadRequestError), Refused, "optim_step failed: no 400."),
        (status(422, tinker.UnprocessableEntityError), Refused, "no 422"),
        (status(401, tinker.AuthenticationError), UserError, "no 401. Give a key"),
        (status(402, tinker.BillingError), UserError, "billing"),
        (status(403, tinker.PermissionDeniedError), UserError, "may not do this"),
        (status(404, tinker.NotFoundError), ServiceFailed, "no 404"),
        (status(500, tinker.InternalServerError), ServiceFailed, "no 500"),
        (failed(RequestErrorCategory.User), Refused, "Request failed: bad rank."),
        (failed(RequestErrorCategory.Server), ServiceFailed, "Request failed: bad rank."),
        (tinker.APIConnectionError(REQUEST), ServiceFailed, "Connection error."),
        (poisoned(), ServiceFailed, "the first one"),
        (expired(), ServiceFailed, "no 410"),
        (TimeoutError(), ServiceFailed, "TimeoutError."),
        (CancelledError(), ServiceFailed, "CancelledError."),
    ],
)
def test_an_error_of_the_sdk_is_told_as_ours(error: Exception, kind: type, message: str):
    with pytest.raises((UserError, ServiceFailed)) as caught, told("optim_step"):
        raise error
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert "request_id" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (status(404, tinker.NotFoundError), True),
        (status(403, tinker.PermissionDeniedError), True),
        (status(501, tinker.InternalServerError), True),
        (failed(RequestErrorCategory.User), True),
        (failed(RequestErrorCategory.Server), False),
        (status(401, tinker.AuthenticationError), False),
        (status(429, tinker.RateLimitError), False),
        (status(503, tinker.InternalServerError), False),
        (tinker.APIConnectionError(REQUEST), False),
    ],
)
def test_what_a_service_does_not_offer_is_told_from_what_it_failed(
    error: tinker.TinkerError, expected: bool
):
    assert is_not_offered(error) is expected


def test_what_is_absent_is_the_users_fault_where_the_caller_says_so():
    told_so = r"the state is gone. The service said: no 404"
    with pytest.raises(UserError, match=told_so), told("load", "the state is gone."):
        raise status(404, tinker.NotFoundError)


def test_without_the_sdk_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinker", None)
    for name in [name for name in sys.modules if name.startswith("actors.train.on_tinker")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"pip install 'tinker==0\.38\.\*'"):
        import actors.train.on_tinker  # noqa: F401


def test_a_datum_keeps_its_arrays():
    floats = np.array([0.0, 0.5, 1.0], np.float32)
    datum = Datum(np.array([3, 4, 5]), np.array([4, 5, 6]), None, floats - 3, floats)
    sent = service_datum(datum)
    assert sent.model_input.to_ints() == [3, 4, 5]
    arrays = {name: data.tolist() for name, data in sent.loss_fn_inputs.items()}
    assert arrays == {
        "target_tokens": [4, 5, 6],
        "logprobs": [-3.0, -2.5, -2.0],
        "advantages": [0.0, 0.5, 1.0],
    }
    assert sent.loss_fn_inputs["target_tokens"].dtype == "int64"


def test_results_are_read_as_ours():
    logprobs = tinker.TensorData.from_numpy(np.array([-1.0, -2.0], np.float32))
    metrics = {"loss:sum": 3.0, "n:sum": 2.0}
    output = tinker.ForwardBackwardOutput("x", [{"logprobs": logprobs}], metrics)
    told = passed(output)
    assert (told.loss, told.metrics) == (3.0, {"n:sum": 2})
    assert [one.tolist() for one in told.logprobs] == [[-1.0, -2.0]]
    norms = {"unclipped_grad_l2:mean": 0.5}
    assert stepped(tinker.OptimStepResponse(metrics=norms)).grad_norm == 0.5
    assert stepped(tinker.OptimStepResponse()).grad_norm is None


def test_the_optimisers_settings_keep_their_names():
    adam = service_adam(AdamParams(1e-3, weight_decay=0.01, grad_clip_norm=1.0))
    assert (adam.learning_rate, adam.eps, adam.weight_decay, adam.grad_clip_norm) == (
        1e-3, 1e-8, 0.01, 1.0,
    )  # fmt: skip
