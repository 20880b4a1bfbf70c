"""`/llms.txt`: the service in a page of plain text, for programs that read prose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from web.documents.openapi import Served, operations_of

HEAD = """\
# Lucid

> A service that sells and proves AI work. Pay per job over the Lightning network, no account; every finished job leaves a
> signed receipt in an append-only log that anyone can verify offline.

## Buy a job

1. POST /api/jobs with {"request": "..."}: 201 with jobId and evalInvoice. The jobId is a key to your money: keep it secret.
2. Pay evalInvoice.paymentRequest (BOLT11). GET /api/jobs/{jobId} until state is awaiting_work_payment, or rejected.
3. Pay workInvoice.paymentRequest. GET /api/jobs/{jobId} until state is complete, or failed.
4. result is the answer, costLedger the account, receiptId the proof: GET /v1/receipts/{receiptId}/bundle, then `lucid verify`.

## Run a model, with a receipt

1. GET /v1/models: what there is. An OpenAI client with base URL /v1 works unchanged; POST /v1/chat/completions.
2. POST /v1/run/inference with {"model": "...", "prompt": "..."}: text, figures and receipt_id. With "stream": true: server-sent events.
   "policy" says where it may run, how long it may take, what it may cost; where nothing fits, 422 says why.
3. Authorization: Bearer lk_live_... or lk_test_...; without one where the operator allows it.
4. GET /v1/receipts/{receipt_id}/bundle, then `lucid verify`.

## Verify code, or have verified code written

1. POST /api/v1/forward with {"code": "...", "language": "python", "context": "what it should do"}: claims, verdicts that rest on runs in a
   sandbox, and what to do about those that fail. Accept: application/sarif+json for SARIF.
2. POST /api/v1/reverse with {"task": "..."}: specifications, constraints, code, and which specifications it satisfies when run.
3. Both take minutes where the model is slow: Prefer: respond-async, then GET /api/v1/runs/{request_id}, or its /events.
4. Authorization: Bearer lk_live_... or lk_test_... with the scope verification. GET /api/v1/plans: what a month holds.

## For all

Send an Idempotency-Key with POST: a repeated request gets the first answer. Retry-After says when to come back.
Amounts are whole sats; dollars are exact decimal JSON numbers.
"""


def llms_text(documents: Mapping[Served, dict[str, Any]]) -> str:
    """Return the text: how to buy a job, then every operation of every document."""
    parts = [HEAD]
    for served, document in documents.items():
        found = operations_of(document, base=served.base)
        lines = [f"- {one.method} {one.path}: {one.summary}" for one in found if one.is_built]
        if missing := sum(not one.is_built for one in found):
            lines += ["", f"{missing} more of its contract answer 501, each with the reason: {served.path} has them."]
        parts.append(f"## {served.name.capitalize()} (OpenAPI: {served.path})\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)
