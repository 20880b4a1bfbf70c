"""`lucid release`: what a deployment does once, before its processes start."""

from __future__ import annotations

import click

from cli.catalog import sync
from cli.database import migrate


@click.command()
@click.pass_context
def release(context: click.Context) -> None:
    """Migrate the database, then register the configured upstreams.

    Harmless to repeat. An upstream that does not answer holds nothing up; a setting that is missing or malformed does.
    """
    context.invoke(migrate, as_json=False)
    context.invoke(sync, as_json=False)
