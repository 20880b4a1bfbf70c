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

Send an Idempotency-Key with POST: a repeated request gets the first answer. Retry-After says when to come back.
Amounts are whole sats; dollars are exact decimal JSON numbers.
"""


def llms_text(documents: Mapping[Served, dict[str, Any]]) -> str:
    """Return the text: how to buy a job, then every operation of every document."""
    parts = [HEAD]
    for served, document in documents.items():
        lines = [
            f"- {operation.method} {operation.path}: {operation.summary}"
            for operation in operations_of(document, base=served.base)
        ]
        parts.append(f"## {served.name.capitalize()} (OpenAPI: {served.path})\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)
