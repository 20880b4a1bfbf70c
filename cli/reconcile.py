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
@click.option(
    "--accept-database",
    "accepts",
    is_flag=True,
    help="After the comparison, whatever it finds, let payouts go on from this database: all that it calls owed is paid when claimed.",
)
def reconcile(as_json: bool, accepts: bool) -> None:
    """Compare ledger and rows with the Lightning node: every invoice, every payment.

    Reads the environment as the service does, LND_MACAROON_PAYMENTS included; what is not set comes from the stack that runs in
    ${LUCID_HOME:-.lucid}. Moves no money and mends nothing; the outcome is kept, and `lucid doctor` and the metrics tell the
    newest. Exit code 0 without a difference, 1 with one, 2 where the two could not be compared.

    A database that was restored, copied or promoted sends no payout: its debts may have been paid since the backup, which shows as
    payment_unknown_here and payout_failed_here_only. See to these debts first; --accept-database then says that the rest is owed.
    Nothing is accepted where the two could not be compared.
    """
    try:
        outcome, are_held = _compared(accepts=accepts)
    except LucidError as error:
        click.echo(
            json.dumps({"error": error.message}) if as_json else f"not compared: {error.message}", err=not as_json
        )
        sys.exit(2)
    if as_json:
        click.echo(json.dumps({**_document(outcome), "payouts_held": are_held}, indent=1))
    else:
        _print(outcome)
        _print_hold(are_held=are_held, accepts=accepts)
    sys.exit(1 if outcome.differences else 0)


def _compared(*, accepts: bool) -> tuple[Reconciled, bool]:
    """Compare, then accept the database if told to; return what was found, and whether payouts are held now."""
    from shared.bootstrap import Role, build

    settings = settings_in(environment_here())
    configure_logging(role="cli", level="ERROR")
    if not settings.lnd_macaroon_payments:
        raise LucidError("LND_MACAROON_PAYMENTS is not set: without it nobody may list the node's payments")
    container = build(settings, Role.CLI)
    try:
        outcome = container.reconciliation.run()
        with container.database.transaction() as tx:
            if accepts:
                container.payouts.accept_database(tx)
            return outcome, container.payouts.are_held(tx)
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


def _print_hold(*, are_held: bool, accepts: bool) -> None:
    if accepts:
        click.echo("this database is accepted: payouts go on")
    elif are_held:
        click.echo(
            "payouts are held: this database was restored, copied or promoted\n"
            "  → see to every payment_unknown_here and payout_failed_here_only, then run this with --accept-database"
        )
