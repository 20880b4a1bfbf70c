"""The benchmark of the verdicts counts as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.verification import forward_figures, report, reverse_figures
from benchmarks.verification.intervals import Share, mcnemar
from benchmarks.verification.one_shot import code_of
from benchmarks.verification.records import Records, Trial

WHEN = {"at": "2026-11-22T12:00:00+00:00", "load": 1.0}


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # R. G. Newcombe, 1998: Wilson's method without continuity correction
        (15, 148, 0.0624, 0.1605),
        (81, 263, 0.2553, 0.3662),
        (10, 10, 0.7225, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_an_interval_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1.0), (3, 3, 1.0), (0, 6, 2 / 64), (1, 9, 22 / 1024), (5, 0, 2 / 32)]
)
def test_mcnemars_p_is_exact_and_two_sided(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p)
    assert mcnemar(second, first) == pytest.approx(p)


def judged(function: str, kind: str | None, way: str = "pipeline", /, **more: Any) -> dict[str, Any]:
    """Return a record of `forward`: flagged where `fails` are given, for the right reason where one of them is right."""
    fails = [{"right": right} if way == "pipeline" else {} for right in more.pop("fails", [])]
    name = f"python/{function}" + (f"#{kind}" if kind else "")
    verdicts = {"PASS": 2} | ({"FAIL": len(fails)} if fails else {}) | more.pop("verdicts", {})
    return {
        **vars(Trial("forward", way, name, "0" * 12, "a-model", 1)),
        "function": function,
        "language": "python",
        "kind": kind,
        "state": "complete",
        "verdicts": verdicts,
        "evidence": {"executed": 2},
        "fails": fails,
        "calls": 2,
        "tokens_in": 100,
        "tokens_out": 10,
        "took_s": 1.0,
        **WHEN,
        **more,
    }


JUDGED = [
    judged("a", None),
    judged("a", "operator", fails=[True, False]),
    judged("a", "boundary", fails=[False]),
    judged("b", None, fails=[False]),
    judged("b", "ordering"),
    judged("b", "operator", state="failed", error="upstream_error", verdicts={}),
]
BELIEVED = [
    judged("a", None, "opinion", fails=[False]),
    judged("a", "operator", "opinion", fails=[True]),
    judged("b", None, "opinion"),
    judged("c", None, "opinion"),
]


def test_a_program_is_flagged_by_a_fail_and_a_failed_run_flags_nothing() -> None:
    found = forward_figures.figures(JUDGED)
    assert found is not None
    flags = found.ways["pipeline"].all
    assert (flags.correct, flags.defective, flags.unanswered) == (2, 4, 1)
    assert (flags.precision, flags.recall) == (Share(2, 3), Share(2, 4))
    assert flags.false_positives == Share(1, 2)
    assert flags.right == Share(1, 4)
    assert found.ways["pipeline"].told_apart == Share(2, 4)
    assert found.ways["pipeline"].by_kind["operator"].recall == Share(1, 2)


def test_two_ways_are_compared_on_the_programs_that_both_judged() -> None:
    found = forward_figures.figures([*JUDGED, *BELIEVED])
    assert found is not None
    assert found.compared["pipeline / opinion"] == (3, 1, 1, 1.0)
    assert found.ways["opinion"].all.right is None


def test_a_partial_counts_only_where_that_is_said() -> None:
    found = forward_figures.figures([judged("a", "operator", verdicts={"PARTIAL": 1})])
    assert found is not None
    assert found.ways["pipeline"].all.recall == Share(0, 1)
    assert found.ways["pipeline"].leniently.recall == Share(1, 1)


def done(name: str, *scores: int, chosen: int = 0, percentage: float = 100.0) -> dict[str, Any]:
    """Return a record of `reverse`, with so many of four hidden tests passed by each attempt."""
    attempts = [
        {"passed": passed, "of": 4, "chosen": number == chosen, "code": ""} for number, passed in enumerate(scores)
    ]
    return {
        **vars(Trial("reverse", "pipeline", name, "0" * 12, "a-model", 1)),
        "state": "complete",
        "attempts": attempts,
        "verification": {"percentage": percentage, "satisfied": round(percentage / 10), "total": 10},
        "calls": 5,
        "tokens_in": 100,
        "tokens_out": 10,
        "took_s": 1.0,
        **WHEN,
    }


def test_repair_is_held_against_the_hidden_tests() -> None:
    records = [done("a", 4), done("b", 2, 4, chosen=1), done("c", 3, 1, chosen=1, percentage=90.0), done("d", 0)]
    found = reverse_figures.figures(records)
    assert found is not None
    figures = found.ways["pipeline"]
    assert (figures.first, figures.chosen) == (Share(1, 4), Share(2, 4))
    assert (figures.mended, figures.regressions) == (1, 1)
    assert figures.claimed is not None
    assert figures.claimed.full == Share(1, 3)
    assert figures.claimed.hidden == pytest.approx(56.25)


def test_a_run_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    records = Records(tmp_path / "deep" / "records.jsonl")
    done_one, failed = (Trial("forward", "pipeline", name, "0" * 12, "a-model", 1) for name in ("one", "two"))
    records.add(done_one, {"state": "complete"})
    records.add(failed, {"state": "failed"})
    with (tmp_path / "deep" / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"pipeline": "forw')
    assert records.done() == {done_one}
    records.add(failed, {"state": "complete"})
    assert records.done() == {done_one, failed}
    assert [record["state"] for record in records] == ["complete", "complete"]


def test_a_report_of_a_part_is_whole(tmp_path: Path) -> None:
    machine = {"processor": "one", "cores": 2, "python": "3.11"}
    found = report.of([*JUDGED, *BELIEVED, done("a", 2, 4, chosen=1)], machine=machine)
    text = found.as_text()
    assert "66.7% (2 of 3; 95 %: 20.8% to 93.9%)" in text
    assert "McNemar" in text
    (part,) = json.loads(json.dumps(found.as_json()))["parts"]
    assert part["forward"]["ways"]["pipeline"]["all"]["recall"]["interval"] == pytest.approx([0.15, 0.85], abs=0.01)
    assert part["reverse"]["ways"]["pipeline"]["chosen"]["hits"] == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("x = 1\n", "x = 1\n"),
        ("Here:\n```python\nx = 1\n```\nThen:\n```\nx\n```", "x = 1\n"),
        ("```ts\nconst x = 1", "const x = 1"),
        ("x = '```'", "x = '```'"),
    ],
)
def test_code_is_taken_from_its_fence(answer: str, code: str) -> None:
    assert code_of(answer) == code
