"""`lucid keys`: API keys of the gateway, made, listed, exchanged and withdrawn in the database that the service uses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cli.surroundings import environment_here, settings_in
from config.logging import configure_logging
from shared.access.model import IssuedKey, Mode, Scope, Tier
from shared.kernel.errors import LucidError

if TYPE_CHECKING:
    from shared.access.keys import ApiKeys

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group()
def keys() -> None:
    """Make, list, exchange and withdraw API keys.

    Reads the environment as the service does; what is not set comes from the stack that runs in ${LUCID_HOME:-.lucid}. Exit code 0
    when it is done, 1 when it was refused, 2 when the command line is wrong or a setting is missing.
    """


@keys.command()
@click.option("--mode", type=click.Choice([str(mode) for mode in Mode]), required=True, help="What its calls run on.")
@click.option("--tier", type=click.Choice([str(tier) for tier in Tier]), default=str(Tier.FREE), show_default=True)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([str(scope) for scope in Scope]),
    multiple=True,
    help="What it opens; may be given several times. Default: inference and verification.",
)
@click.option("--tenant", help="Whose key it is. Default: a new tenant.")
@click.option("--label", default="", help="A note for people.")
@_as_json
def create(mode: str, tier: str, scopes: tuple[str, ...], tenant: str | None, label: str, as_json: bool) -> None:
    """Make a key. Its text is printed this once; only its hash is kept."""
    from shared.access.keys import DEFAULT_SCOPES

    with _open_keys(as_json=as_json) as api_keys:
        issued = api_keys.create(
            mode=Mode(mode),
            tier=Tier(tier),
            scopes={Scope(scope) for scope in scopes} or DEFAULT_SCOPES,
            label=label,
            tenant=tenant,
        )
    _print_issued(issued, as_json=as_json)


@keys.command()
@click.argument("key_id")
@_as_json
def rotate(key_id: str, as_json: bool) -> None:
    """Make a key that takes the place of KEY_ID, which is refused from then on."""
    with _open_keys(as_json=as_json) as api_keys:
        issued = api_keys.rotate(key_id)
    _print_issued(issued, as_json=as_json)


@keys.command()
@click.argument("key_id")
@_as_json
def revoke(key_id: str, as_json: bool) -> None:
    """Withdraw KEY_ID: it is refused from then on. Harmless to repeat."""
    from shared.access.keys import shown

    with _open_keys(as_json=as_json) as api_keys:
        record = shown(api_keys.revoke(key_id))
    if as_json:
        click.echo(json.dumps(record))
    else:
        click.echo(_line(record))


@keys.command("list")
@click.option("--tenant", help="Only this tenant's.")
@_as_json
def list_keys(tenant: str | None, as_json: bool) -> None:
    """List keys, newest first; revoked ones too."""
    from shared.access.keys import shown

    with _open_keys(as_json=as_json) as api_keys:
        records = [shown(key) for key in api_keys.listing(tenant=tenant)]
    if as_json:
        click.echo(json.dumps({"keys": records}))
    else:
        click.echo("\n".join(_line(record) for record in records) or "no keys")


@contextmanager
def _open_keys(*, as_json: bool) -> Iterator[ApiKeys]:
    """Lend the keeper of keys; what it refuses ends the command with 1."""
    from shared.bootstrap import Role, build

    settings = settings_in(environment_here())
    configure_logging(role="cli", level="ERROR")
    container = build(settings, Role.CLI)
    try:
        yield container.api_keys
    except LucidError as error:
        click.echo(json.dumps({"error": error.message}) if as_json else error.message, err=not as_json)
        sys.exit(1)
    finally:
        container.database.close()


def _print_issued(issued: IssuedKey, *, as_json: bool) -> None:
    from shared.access.keys import shown

    record = shown(issued.record)
    if as_json:
        click.echo(json.dumps({"key": issued.text, **record}))
    else:
        click.echo(issued.text)
        click.echo(_line(record), err=True)


def _line(record: dict[str, Any]) -> str:
    ended = f"revoked {record['revoked_at']}" if record["revoked_at"] else f"used {record['last_used_at'] or 'never'}"
    words = (record["id"], record["hint"], record["tier"], "+".join(record["scopes"]), record["tenant"], ended)
    return "  ".join([*words, record["label"]]).rstrip()
