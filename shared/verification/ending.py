"""How a verification ends, whoever ends it: row, history, quota and receipt, in one transaction.

Complete and cancelled keep their unit of the quota and leave a receipt. Failed gives the unit back and leaves none: there is nothing
to prove, and it may yet be resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from shared.access.quotas import Quotas
from shared.db.service import Tx
from shared.events.service import Events
from shared.kernel.canonical_json import jcs
from shared.kernel.errors import IntegrityFault
from shared.kernel.transitions import next_state
from shared.receipts.model import Committed, Draft, Ran, ReceiptKind
from shared.receipts.service import Receipts
from shared.verification import store
from shared.verification.items import Json, Ruling, SpecStatus
from shared.verification.model import (
    VERIFICATION_TRANSITIONS,
    Pipeline,
    Stage,
    StageState,
    Tally,
    Verification,
    VerificationEvent,
)
from shared.verification.stages import reverse_result
from shared.verification.tools import FaultCode

_FINISH_REASONS = {VerificationEvent.COMPLETED: "stop", VerificationEvent.CANCELLED: "cancelled"}


class VerificationEndings:
    """Ends verifications. `upstreams`: the addresses of the models, by mode, as receipts name them."""

    def __init__(self, *, events: Events, receipts: Receipts, quotas: Quotas, upstreams: Mapping[str, str]) -> None:
        self._events = events
        self._receipts = receipts
        self._quotas = quotas
        self._upstreams = dict(upstreams)

    def complete(self, tx: Tx, verification: Verification) -> None:
        """End one whose stages are all done, and which `tx` has locked. Raises `TransitionConflict`."""
        self._prove(tx, verification, VerificationEvent.COMPLETED)

    def cancel(self, tx: Tx, verification: Verification) -> None:
        """End one that its caller gave up, and which `tx` has locked. Raises `TransitionConflict`."""
        store.close_left_attempts(tx, verification.id, StageState.ABANDONED)
        self._prove(tx, verification, VerificationEvent.CANCELLED)

    def fail(self, tx: Tx, verification: Verification, code: FaultCode, message: str) -> None:
        """End one that gave no answer, and which `tx` has locked, and give its unit back. Raises `TransitionConflict`, `IntegrityFault`."""
        event = VerificationEvent.FAILED
        to_state = next_state(VERIFICATION_TRANSITIONS, verification.state, event)
        if verification.unit is None:
            raise IntegrityFault("a verification under way without a unit")
        store.close_left_attempts(tx, verification.id, StageState.INTERRUPTED)
        store.end(tx, verification.id, from_state=verification.state, to_state=to_state, fault=(code, message))
        told = {"stage": verification.stage.value, "code": code.value, "message": message}
        self._events.append(tx, verification.owner, event, moved=(verification.state, to_state), body=told)
        if not self._quotas.give_back(tx, verification.unit):
            raise IntegrityFault("the unit of a verification under way was given back before")

    def _prove(self, tx: Tx, verification: Verification, event: VerificationEvent) -> None:
        to_state = next_state(VERIFICATION_TRANSITIONS, verification.state, event)
        if verification.unit is None:
            raise IntegrityFault("a verification under way without a unit")
        duration_ms = store.end(tx, verification.id, from_state=verification.state, to_state=to_state)
        self._events.append(tx, verification.owner, event, moved=(verification.state, to_state))
        usage = store.usage_of(tx, [verification.id])[verification.id]
        self._receipts.issue(tx, self._draft(tx, verification, event, usage, duration_ms))
        self._quotas.record_tokens(tx, verification.unit, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)

    def _draft(
        self, tx: Tx, verification: Verification, event: VerificationEvent, usage: Tally, duration_ms: int
    ) -> Draft:
        outputs = store.outputs(tx, verification.id)
        committed = store.commitments(tx, verification.id)
        contents = committed_contents(verification.pipeline, outputs)
        return Draft(
            kind=ReceiptKind.VERIFICATION,
            owner=verification.owner,
            tenant=verification.tenant,
            finish_reason=_FINISH_REASONS[event],
            ran=self._ran(tx, verification, usage, duration_ms),
            committed=committed | {name: self._committed(content) for name, content in contents.items()},
            extra={
                "pipeline": verification.pipeline.value,
                "stages_done": [stage.value for stage in verification.stages if stage in outputs],
                **outcome_counts(outputs),
            },
        )

    def _committed(self, content: bytes) -> Committed:
        return self._receipts.commit_to(content)

    def _ran(self, tx: Tx, verification: Verification, usage: Tally, duration_ms: int) -> Ran:
        counted = [
            (row, ttft_ms)
            for row, ttft_ms in store.stage_rows(tx, verification.id)
            if row.state in (StageState.DONE, StageState.ABANDONED)
        ]
        answered = [row.model for row, _ in counted if row.model is not None]
        return Ran(
            model_requested=verification.model,
            model_answered=answered[-1] if answered else verification.model,
            upstream=self._upstreams[verification.mode],
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            ttft_ms=next((ttft_ms for _, ttft_ms in counted if ttft_ms is not None), 0),
            total_latency_ms=duration_ms,
        )


def committed_contents(pipeline: Pipeline, outputs: Mapping[Stage, Json]) -> dict[str, bytes]:
    """Return the bytes that a receipt commits to, by the commitment's name, as far as the stages got.

    Of `forward`: `claims`, `verdicts` (with their evidence and transcripts) and `output` (the remediations), each the RFC 8785 form
    of the list of items as they are stored. Of `reverse`: `claims` (an object of `specifications` and `constraints`), `verdicts`
    (those of the chosen attempt), and `output`, the chosen code itself as UTF-8.
    """
    return _of_forward(outputs) if pipeline is Pipeline.FORWARD else _of_reverse(outputs)


def _of_forward(outputs: Mapping[Stage, Json]) -> dict[str, bytes]:
    places = {
        "claims": (Stage.EXTRACT, "claims"),
        "verdicts": (Stage.VERIFY, "verdicts"),
        "output": (Stage.REMEDIATE, "remediations"),
    }
    return {name: jcs(outputs[stage][items]) for name, (stage, items) in places.items() if stage in outputs}


def _of_reverse(outputs: Mapping[Stage, Json]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    if Stage.CONSTRAIN in outputs:
        specs, constraints = outputs[Stage.SPECIFY]["specifications"], outputs[Stage.CONSTRAIN]["constraints"]
        contents["claims"] = jcs({"specifications": specs, "constraints": constraints})
    chosen = reverse_result(outputs).chosen
    if chosen is not None:
        contents["verdicts"] = jcs([verdict.to_json() for verdict in chosen.verdicts])
        contents["output"] = chosen.code.encode()
    return contents


def outcome_counts(outputs: Mapping[Stage, Json]) -> dict[str, Any]:
    """Return the figures of the verdicts as a receipt states them; nothing before there are verdicts."""
    if Stage.EXTRACT in outputs:
        if Stage.VERIFY not in outputs:
            return {}
        rulings = Counter(verdict["verdict"] for verdict in outputs[Stage.VERIFY]["verdicts"])
        names = {
            "passed": Ruling.PASS,
            "failed": Ruling.FAIL,
            "partial": Ruling.PARTIAL,
            "not_applicable": Ruling.NOT_APPLICABLE,
        }
        return {name: rulings[ruling] for name, ruling in names.items()} | {"total": rulings.total()}
    chosen = reverse_result(outputs).chosen
    if chosen is None:
        return {}
    satisfied = sum(verdict.status is SpecStatus.SATISFIED for verdict in chosen.verdicts)
    return {"satisfied": satisfied, "total": len(chosen.verdicts), "attempts": len(outputs[Stage.REPAIR]["attempts"])}
