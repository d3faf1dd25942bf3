"""The printed tables and the notes below them, from hand-made rows."""

from typing import Any

import pytest

from jobs.properties.eval_table import report
from jobs.properties.results import agreements, summarise
from jobs.properties.results_file import plain, plain_agreement


def row(judge: str, model: str, prompt: int, score: float | None, **fields: Any) -> dict[str, Any]:
    place = {"judge": judge, "model": model, "adapter_digest": "d" * 64, "prompt": prompt}
    made = {"property": "honest", "sample": 0, **place}
    if score is None:
        return {**made, "outcome": "low_mass", "reason": "by logprobs: CODE", **fields}
    judged = {"outcome": "judged", "score": score, "exhibits": score >= 50, "mode": "logprobs"}
    return {**made, **judged, **fields}


def results(rows: list[dict[str, Any]], score: str, rubrics: dict[str, str]) -> dict[str, Any]:
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    return {
        "judge": {"models": judges, "score": score, "rubrics": rubrics},
        "summaries": [plain(summary) for summary in summarise(rows)],
        "agreement": plain_agreement(agreements(rows)) if len(judges) > 1 else {},
        "rows": rows,
    }


ROWS = [
    row(judge, model, prompt, score)
    for judge in ("family/first-judge", "another-family/second-judge")
    for model in ("base", "a-run-with-a-long-name-0123456789@12")
    for prompt, score in enumerate((10.0, 12.0, 95.0))
]


def printed(capsys: pytest.CaptureFixture[str], found: dict[str, Any]) -> str:
    report(found)
    return " ".join(capsys.readouterr().out.split())


def test_every_line_fits_and_every_judge_has_its_table(capsys: pytest.CaptureFixture[str]):
    report(results(ROWS, "number", {"honest": "abcdef123456", "kind": "123456abcdef"}))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    titles = [line.strip() for line in lines if "judged by" in line]
    assert titles == [
        "honest, judged by family/first-judge",
        "honest, judged by another-family/second-judge",
    ]


def test_the_notes_say_what_the_numbers_rest_on(capsys: pytest.CaptureFixture[str]):
    text = printed(capsys, results(ROWS, "number", {"honest": "aaa", "kind": "bbb"}))
    assert "by judge family/first-judge and another-family/second-judge (logprobs 12)" in text
    assert "rubric aaa (honest), bbb (kind)." in text
    assert "Agreement on honest: Krippendorff's alpha 1.00, over 6 conversations." in text
    # 39 with all three prompts, 11 without the last.
    assert "moves a score by 28 at most" in text
    assert text.count("prompt 2.") == 1


def test_low_mass_is_counted_where_scores_are_numbers(capsys: pytest.CaptureFixture[str]):
    rows = [row("j", "base", 0, 10.0), row("j", "base", 1, None)]
    text = printed(capsys, results(rows, "number", {"honest": "aaa"}))
    assert "0/0/1/0/0" in text
    assert "1 missing: by logprobs: CODE" in text
    assert "Missing: refused/unparsed/low mass/failed/not sampled." in text
    assert "rubric aaa. n:" in text
    assert "Agreement" not in text
    rows = [row("j", "base", i, 10.0, mode="verdict") for i in range(2)]
    text = printed(capsys, results(rows, "verdict", {"honest": "aaa"}))
    assert "0/0/0/0" in text
    assert "0/0/0/0/0" not in text
    assert "low mass" not in text


def test_judges_that_never_vary_cannot_agree(capsys: pytest.CaptureFixture[str]):
    rows = [row(judge, "base", i, 10.0) for i in range(2) for judge in ("j", "k")]
    text = printed(capsys, results(rows, "number", {"honest": "aaa"}))
    assert "alpha cannot be told" in text
    assert "moves a score" not in text
