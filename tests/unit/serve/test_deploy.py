"""What of Serve's log a user sees."""

import logging

import pytest

from serve.deploy import ensure_serve


def test_only_news_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ray.serve.start", lambda **options: None)
    ensure_serve()
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    for line in ("Replica a died", "Replica a died", "Replica b died"):
        logger.warning(line)
    for seconds in (0.1, 1.0):
        logger.warning(f"Failed to get queue length from Replica(id='a') within {seconds}s.")
    logger.removeHandler(caplog.handler)
    assert [one.getMessage() for one in caplog.records] == ["Replica a died", "Replica b died"]
