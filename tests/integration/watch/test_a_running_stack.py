"""`/metrics` and `lucid doctor` beside the whole product as processes: sound while it runs, and outspoken once it does not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.doctor import examine
from cli.findings import Level
from devstack.endpoints import settings_of
from devstack.home import Home
from devstack.supervisor import Stack
from tests.e2e.ledger_reader import LedgerReader
from tests.e2e.market import Market
from tests.e2e.patience import eventually
from tests.integration.watch.test_metrics import Samples, samples_of, value
from tests.processes import children_of

ROOT = Path(__file__).resolve().parents[3]
CALLS = "lucid_model_call_seconds_count"


def scrape(stack: Stack) -> tuple[str, Samples]:
    where = stack.endpoints["metrics"]
    answer = httpx.get(where["url"], headers={"Authorization": f"Bearer {where['token']}"}, timeout=10, trust_env=False)
    assert answer.status_code == 200
    return answer.text, samples_of(answer.text)


def doctor(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `lucid doctor` with nothing but the home to go by."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "doctor", *arguments],
        cwd=ROOT,
        env={**kept, "LUCID_HOME": str(home), **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


def faults(home: Path) -> list[tuple[str, str]]:
    """What a look without patience finds."""
    found = examine(settings_of(Home(home), {"LUCID_HOME": str(home)}), patience_s=0)
    return [(finding.check, finding.detail) for finding in found if finding.level is Level.FAULT]


@pytest.fixture
def sold(market: Market) -> str:
    """The public id of a job that is complete and whose receipt is in an anchored epoch."""
    order = market.accepted()
    order.pay_work()
    order.reach("complete")
    eventually(
        lambda: market.ledger.one("SELECT count(*) FROM anchors WHERE state = 'final'") > 0, what="an anchored epoch"
    )
    return order.id


def test_a_sold_job_shows_in_the_figures_and_its_ids_do_not(market: Market, sold: str) -> None:
    text, samples = scrape(market.stack)
    of = {"model": "sim-small", "outcome": "ok"}
    assert value(samples, "lucid_model_call_seconds_count", **of) >= 2
    assert value(samples, "lucid_model_tokens_total", **of, direction="out") > 0
    assert value(samples, "lucid_ledger_imbalance_msat") == 0
    assert value(samples, "lucid_debts_open_msat", reason="unused") > 0
    assert value(samples, "lucid_http_requests_total", route="/api/jobs", method="POST", status="201") >= 1
    assert 0 <= value(samples, "lucid_anchor_final_age_seconds", target="witness") < 600
    assert value(samples, "lucid_queue_consumed_age_seconds", queue="llm") < 60
    assert sold not in text
    labels = {text for _, labelled in samples for _, text in labelled}
    assert not [text for text in labels if re.search(r"[0-9a-f]{12}", text)]


def test_a_model_call_that_fails_is_counted_by_how_it_failed(market: Market) -> None:
    def failed() -> float:
        _, samples = scrape(market.stack)
        calls = (
            v for (name, labels), v in samples.items() if name == CALLS and ("outcome", "PROVIDER_ERROR") in labels
        )
        return sum(calls)

    before = failed()
    order = market.order()
    market.model.fault("status:500", match=order.mark)
    order.pay_evaluation()
    order.reach("awaiting_work_payment")
    assert failed() == before + 1


def test_every_web_process_answers_for_all_of_them_even_for_one_that_died(market: Market) -> None:
    def seen() -> float:
        _, samples = scrape(market.stack)
        return value(samples, "lucid_http_requests_total", route="/health/live", method="GET", status="200")

    for _ in range(10):
        assert market.api.get("/health/live").status_code == 200
    first = seen()
    assert first >= 10
    assert {seen() for _ in range(10)} == {first}
    master = market.stack.process("web").pid
    worker = min(children_of(master))
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: worker not in children_of(master), what="the end of a web process")
    assert seen() == first


@pytest.mark.usefixtures("sold")
def test_a_running_stack_needs_no_hand(market: Market) -> None:
    done = doctor(market.stack.home.folder, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["needs_a_hand"] is False
    checks = {finding["check"] for finding in said["findings"]}
    assert checks >= {
        "database",
        "schema",
        "redis",
        "lightning",
        "model",
        "witness",
        "web",
        "work",
        "ticks",
        "ledger",
        "log",
    }
    assert all(finding["level"] != "fault" for finding in said["findings"])


@pytest.mark.usefixtures("sold")
def test_a_flipped_node_needs_a_hand(market: Market) -> None:
    flip = "UPDATE log_nodes SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE pos = 0 RETURNING pos"
    market.ledger.one(flip)
    try:
        done = doctor(market.stack.home.folder)
    finally:
        market.ledger.one(flip)
    assert done.returncode == 1
    assert "1 stored nodes are missing or differ from the receipts, from position 0 on" in done.stdout
    assert "→ stop worker-tick" in done.stdout


def test_a_stuck_step_needs_a_hand(market: Market) -> None:
    market.stack.process("worker-llm").stop(keep_down=True)
    order = market.order()
    order.pay_evaluation()
    eventually(lambda: queued(market.ledger), what="a queued evaluation")
    market.ledger.rows(
        "UPDATE steps SET not_before = now() - interval '10 minutes' WHERE name = 'evaluate' AND state = 'queued' RETURNING id"
    )
    found = faults(market.stack.home.folder)
    assert any(check == "steps" and "1 × job.evaluate queued" in detail for check, detail in found), found
    _, samples = scrape(market.stack)
    assert value(samples, "lucid_oldest_step_seconds", queue="llm", state="queued") > 500
    market.stack.process("worker-llm").start()
    order.reach("awaiting_work_payment")
    assert not any(check == "steps" for check, _ in faults(market.stack.home.folder))


def queued(ledger: LedgerReader) -> bool:
    return bool(ledger.one("SELECT count(*) FROM steps WHERE name = 'evaluate' AND state = 'queued'"))


@pytest.mark.parametrize(
    ("process", "part"),
    [("witness", "witness"), ("lightning", "lightning"), ("sim-model", "model"), ("valkey", "redis")],
)
def test_a_part_that_is_down_is_named(market: Market, process: str, part: str) -> None:
    def is_down() -> bool:
        return part in dict(faults(market.stack.home.folder))

    market.stack.process(process).stop(keep_down=True)
    try:
        assert is_down()
    finally:
        market.stack.process(process).start()
        eventually(lambda: not is_down(), what=f"{process} back again")


def test_with_nothing_to_examine_it_says_so(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no stack runs in" in done.stderr
    assert "DATABASE_URL is not set" in done.stderr


def test_a_home_that_is_damaged_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("half of a m", encoding="utf-8")
    done = doctor(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path} cannot be read as the home of a stack")


def test_without_its_database_it_says_what_it_did_not_check(market: Market) -> None:
    done = doctor(market.stack.home.folder, DATABASE_URL="postgresql://lucid:hidden@127.0.0.1:9/lucid")
    assert done.returncode == 1
    assert "work, ledger and log were not checked" in done.stdout
    assert "hidden" not in done.stdout + done.stderr
