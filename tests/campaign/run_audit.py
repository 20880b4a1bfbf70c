"""What must hold of runs when the noise is over: each has one end, one usage row and one receipt, and no stream was spliced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from tests.campaign.run_caller import SEALED, Held
from tests.e2e.event_stream import Event, parsed, require_one_end
from tests.e2e.ledger_reader import LedgerReader

RUNS_AT_REST = {
    "steps of ended runs that are not over": """
        SELECT steps.name FROM steps JOIN runs ON owner_kind = 'run' AND owner_id = runs.id
         WHERE runs.ended_at IS NOT NULL AND steps.state IN ('queued', 'running')""",
}

RUNS_NEVER = {
    "usage that is counted for another tenant than the run's": """
        SELECT usage.id FROM usage JOIN runs ON owner_kind = 'run' AND owner_id = runs.id
         WHERE (usage.tenant, usage.mode) <> (runs.tenant, runs.mode)""",
    "usage of runs that have not ended": """
        SELECT usage.id FROM usage WHERE owner_kind = 'run'
           AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = owner_id AND ended_at IS NOT NULL)""",
    "failed runs that bill tokens": "SELECT id FROM runs WHERE state = 'failed' AND tokens_in + tokens_out > 0",
    "ended runs without just one receipt, which has their id": """
        SELECT runs.id FROM runs WHERE ended_at IS NOT NULL
           AND (SELECT array_agg(kind || ' ' || receipt_id) FROM receipts WHERE owner_kind = 'run' AND owner_id = runs.id)
               IS DISTINCT FROM ARRAY['inference ' || runs.run_id]""",
    "receipts of runs that have not ended": """
        SELECT receipts.id FROM receipts WHERE owner_kind = 'run'
           AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = owner_id AND ended_at IS NOT NULL)""",
    "receipts that say another thing than their run": """
        SELECT said.run_id FROM (
            SELECT runs.*, convert_from(body, 'UTF8')::jsonb AS said FROM runs
              JOIN receipts ON owner_kind = 'run' AND owner_id = runs.id) AS said
         WHERE (said ->> 'run_id', (said ->> 'tokens_in')::int, (said ->> 'tokens_out')::int, said ->> 'finish_reason',
                said ->> 'policy_hash', said ->> 'compute_passport_id', said ->> 'error_code')
               IS DISTINCT FROM (run_id, tokens_in, tokens_out, finish_reason, encode(policy_hash, 'hex'), compute_passport_id,
                                 error_code)""",
    "passports whose row and last event differ": """
        SELECT id FROM passports WHERE status IS DISTINCT FROM
          (SELECT to_state FROM events
            WHERE owner_kind = 'passport' AND owner_id = passports.id AND to_state IS NOT NULL ORDER BY seq DESC LIMIT 1)""",
    "runs that ended more than once": """
        SELECT owner_id FROM events WHERE owner_kind = 'run' AND to_state IN ('complete', 'failed', 'cancelled')
         GROUP BY owner_id HAVING count(*) > 1""",
    "sealed inputs of ended runs": "SELECT id FROM runs WHERE sealed_input IS NOT NULL AND ended_at IS NOT NULL",
    "second answers after a first had begun to leave": """
        SELECT runs.id FROM runs JOIN events ON owner_kind = 'run' AND owner_id = runs.id
         WHERE events.name = 'restarted' AND events.at > streaming_since""",
}


def require_true_streams(ledger: LedgerReader) -> None:
    """Every stored stream counts from 1 without gaps and has one end: `[DONE]` where its run is complete, else an error."""
    rows = ledger.rows("SELECT runs.run_id, state, frames FROM run_frames JOIN runs ON runs.id = run_frames.run_id")
    for row in rows:
        events = events_in(b"".join(bytes(frame) for frame in row["frames"]))
        end = require_one_end(events)
        assert end.is_done == (row["state"] == "complete"), row["run_id"]
        numbers = [event.id for event in events if event.id is not None]
        assert numbers[:1] == [1] or (not numbers and row["state"] == "failed"), row["run_id"]


def require_told_the_truth(ledger: LedgerReader, held: Mapping[str, Held]) -> None:
    """What callers were told of their runs is what is stored: the same end, and of a stream the same bytes.

    Of a stream whose receipt says that it was recovered, what is stored may end sooner. It has the same end.
    """
    for run_id, told in held.items():
        (row,) = ledger.rows(
            """
            SELECT state, coalesce(frames, '{}') AS frames,
                   convert_from(body, 'UTF8')::jsonb ->> 'output_form' = 'stream_recovered' AS is_recovered
              FROM runs LEFT JOIN run_frames ON run_frames.run_id = runs.id
                        JOIN receipts ON owner_kind = 'run' AND owner_id = runs.id
             WHERE runs.run_id = %(run)s""",
            run=run_id,
        )
        assert row["state"] == told.end, run_id
        stored = [bytes(frame) for frame in row["frames"]]
        require_no_splice(stored, told, f"a splice in {run_id}", is_recovered=row["is_recovered"])


def require_no_splice(stored: Sequence[bytes], told: Held, what: str, *, is_recovered: bool) -> None:
    """The events that a caller was sent are those stored, or, of a recovered stream, those and more before the same end."""
    wire = b"".join(stored)
    if not is_recovered:
        assert wire == told.wire if told.is_whole else wire.startswith(told.wire), what
        return
    assert told.end == "failed", what
    known, end = wire.removesuffix(stored[-1]), stored[-1]
    sent = told.wire
    if told.is_whole:
        assert sent.endswith(end), what
        sent = sent.removesuffix(end)
        assert sent.startswith(known), what
    assert known.startswith(sent) or sent.startswith(known), what


def require_one_run_a_key(ledger: LedgerReader, by_trace: Mapping[str, str]) -> None:
    """Of each key, whose requests all had one trace id, came the one run that its caller was told of."""
    for trace_id, run_id in by_trace.items():
        rows = ledger.rows("SELECT run_id FROM runs WHERE trace_id = %(trace)s", trace=trace_id)
        assert [row["run_id"] for row in rows] == [run_id]


def require_nothing_kept_of_sealed(ledger: LedgerReader) -> None:
    """No input is kept of an ended run whose policy has none stored; there were such runs."""
    text = json.dumps(SEALED, sort_keys=True, separators=(",", ":")).encode()
    rows = ledger.rows(
        "SELECT run_id, input, sealed_input FROM runs WHERE policy_hash = %(hash)s AND ended_at IS NOT NULL",
        hash=hashlib.sha256(text).digest(),
    )
    assert rows
    assert [row["run_id"] for row in rows if row["input"] is not None or row["sealed_input"] is not None] == []


def events_in(wire: bytes) -> list[Event]:
    """Return the events of a whole stream."""
    return list(parsed([wire]))
