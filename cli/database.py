"""`lucid migrate`: the first half of a release."""

from __future__ import annotations

import json
import os
import sys

import click

from cli.output import home_endpoints
from shared.db.migrations import SchemaMismatch
from shared.db.migrations import migrate as apply


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def migrate(as_json: bool) -> None:
    """Bring the database to this code's schema. Harmless to repeat; two at once: one applies, the other waits."""
    url = os.environ.get("DATABASE_URL") or home_endpoints().get("database_url", "")
    if not url:
        click.echo("DATABASE_URL is not set, and no embedded stack is running", err=True)
        sys.exit(2)
    try:
        applied = apply(url.replace("postgres://", "postgresql://", 1))
    except SchemaMismatch as error:
        click.echo(error.message, err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({"applied": applied}))
    else:
        click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to do", err=True)
