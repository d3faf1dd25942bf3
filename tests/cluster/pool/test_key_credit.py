"""What the doctor says of the credit behind a key, asked over real HTTP and read from answers."""

import socket

import pytest
from pool_endpoint import Endpoint

from jobs.doctor.credit import credit, read_credit


def test_a_key_without_a_limit_says_what_it_used(endpoint: Endpoint):
    found = credit(endpoint.url, "none")
    assert (found.check, found.state, found.mend) == ("credit", "ok", "")
    assert "no limit" in found.found
    assert "$0.00 used" in found.found


def test_a_key_with_a_limit_says_what_is_left(endpoint: Endpoint):
    endpoint.faults(credit_usd=2.5)
    found = credit(endpoint.url, "none")
    assert (found.state, found.found) == ("ok", "$2.50 of $2.50 left on the key, $0.00 used so far")
    endpoint.faults(credit_usd=0)
    assert credit(endpoint.url, "none").state == "missing"


def test_a_place_without_a_key_route_is_a_note(endpoint: Endpoint):
    found = credit(f"{endpoint.url}/absent", "none")
    assert found.state == "note"
    assert "HTTP 404" in found.found


def test_a_place_that_does_not_answer_is_a_note():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        found = credit(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "none")
    assert found.state == "note"
    assert "did not answer" in found.found


def test_what_is_left_of_a_limit_is_told():
    body = {"data": {"limit": 20, "limit_remaining": 3.5, "usage": 16.5}}
    assert read_credit(body).found == "$3.50 of $20.00 left on the key, $16.50 used so far"


@pytest.mark.parametrize("left", [0, -0.2])
def test_an_empty_key_is_missing_and_says_what_mends_it(left):
    found = read_credit({"data": {"limit": 20, "limit_remaining": left, "usage": 20}})
    assert found.state == "missing"
    assert "$0.00 of $20.00 left" in found.found
    assert "openrouter.ai" in found.mend


@pytest.mark.parametrize("body", [None, [], {}, {"data": None}, {"data": "x"}])
def test_an_answer_without_data_is_a_note(body):
    assert read_credit(body).state == "note"


def test_odd_amounts_are_not_taken_for_dollars():
    found = read_credit({"data": {"limit": None, "limit_remaining": True, "usage": "1"}})
    assert found.found == "the key has no limit of its own"
