"""`lucid catalog`: what the settings name, as passports of the operator's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cli.surroundings import environment_here, settings_in
from config.logging import configure_logging
from shared.kernel.errors import LucidError

if TYPE_CHECKING:
    from shared.catalog.registration import Registered


@click.group()
def catalog() -> None:
    """Models and nodes that this service can run on."""


@catalog.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def sync(as_json: bool) -> None:
    """Register the configured upstreams and what they serve.

    Those of OPENAI_BASE_URL, SIM_OPENAI_BASE_URL and UPSTREAMS. Reads the environment as the service does; what is not set comes
    from the stack that runs in ${LUCID_HOME:-.lucid}. What is no longer configured becomes deprecated, what is revoked stays so.
    Harmless to repeat. An upstream that does not answer keeps what it listed before, and is no fault: its heartbeat says so.
    """
    try:
        done = _synced()
    except (LucidError, ValueError) as error:
        text = error.message if isinstance(error, LucidError) else str(error)
        click.echo(json.dumps({"error": text}) if as_json else f"not synced: {text}", err=not as_json)
        raise SystemExit(1) from None
    if as_json:
        names = ("created", "changed", "deprecated", "restored")
        click.echo(json.dumps({**{name: list(getattr(done, name)) for name in names}, "standing": done.standing}))
    else:
        click.echo(_told(done), err=True)


def _synced() -> Registered:
    from shared.bootstrap import Role, build

    settings = settings_in(environment_here())
    configure_logging(role="cli", level="ERROR")
    container = build(settings, Role.CLI)
    try:
        return container.probing.sync()
    finally:
        container.database.close()
        container.redis_events.close()


def _told(done: Registered) -> str:
    if done.did_nothing:
        return f"catalog: {done.standing} configured passports, nothing to do"
    counts = {
        "created": done.created,
        "changed": done.changed,
        "restored": done.restored,
        "deprecated": done.deprecated,
    }
    said = ", ".join(f"{len(ids)} {word}" for word, ids in counts.items() if ids)
    return f"catalog: {done.standing} configured passports: {said}"
