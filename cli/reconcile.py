"""`lucid reconcile`: our books against the node's, invoice by invoice and payment by payment."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cli.surroundings import environment_here, settings_in
from config.logging import configure_logging
from shared.kernel.errors import LucidError

if TYPE_CHECKING:
    from shared.agent.differences import Difference
    from shared.agent.reconciliation import Reconciled


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def reconcile(as_json: bool) -> None:
    """Compare ledger and rows with the Lightning node: every invoice, every payment.

    Reads the environment as the service does, LND_MACAROON_PAYMENTS included; what is not set comes from the stack that runs in
    ${LUCID_HOME:-.lucid}. Moves no money and mends nothing; the outcome is kept, and `lucid doctor` and the metrics tell the
    newest. Exit code 0 without a difference, 1 with one, 2 where the two could not be compared.
    """
    try:
        outcome = _compared()
    except LucidError as error:
        click.echo(
            json.dumps({"error": error.message}) if as_json else f"not compared: {error.message}", err=not as_json
        )
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(_document(outcome), indent=1))
    else:
        _print(outcome)
    sys.exit(1 if outcome.differences else 0)


def _compared() -> Reconciled:
    from shared.bootstrap import Role, build

    settings = settings_in(environment_here())
    configure_logging(role="cli", level="ERROR")
    if not settings.lnd_macaroon_payments:
        raise LucidError("LND_MACAROON_PAYMENTS is not set: without it nobody may list the node's payments")
    container = build(settings, Role.CLI)
    try:
        return container.reconciliation.run()
    finally:
        container.database.close()


def _document(outcome: Reconciled) -> dict[str, Any]:
    return {
        "differences": [_shown(found) for found in outcome.differences],
        "invoices": outcome.invoices,
        "payments": outcome.payments,
        "under_way": outcome.under_way,
        "began_at": outcome.began_at.isoformat(),
        "ended_at": outcome.ended_at.isoformat(),
    }


def _shown(found: Difference) -> dict[str, str]:
    return {**{name: str(value) for name, value in asdict(found).items()}, "remedy": found.remedy}


def _print(outcome: Reconciled) -> None:
    for found in outcome.differences:
        click.echo(f"{found.code}\n  {found.subject}: {found.detail}\n  → {found.remedy}")
    young = f"; {outcome.under_way} under way" if outcome.under_way else ""
    click.echo(
        f"compared {outcome.invoices} settled invoices and {outcome.payments} payments of the node:"
        f" {len(outcome.differences)} differences{young}"
    )
