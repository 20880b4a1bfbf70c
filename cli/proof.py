"""`lucid verify`, `lucid receipts`, `lucid epochs`: fetch proofs, and check them with everything else stopped."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from cli.output import home, home_endpoints


@click.command()
@click.argument("bundle", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--trust", type=click.Path(dir_okay=False, path_type=Path), help="Keys to trust; default $LUCID_HOME/trust.json."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(bundle: Path, trust: Path | None, as_json: bool) -> None:
    """Verify a receipt's BUNDLE offline: no network, no database, no settings.

    Exit code 0 when every check holds, 3 when the bundle is consistent but no trust file pins its keys, 10 to 21 by the first
    check that fails, 2 when a file cannot be read.
    """
    from shared.receipts.verify import verify_bundle

    default = home() / "trust.json"
    pins = trust or (default if default.exists() else None)
    try:
        report = verify_bundle(bundle.read_bytes(), pins.read_bytes() if pins else None)
    except OSError as error:
        click.echo(f"cannot read {error.filename}: {error.strerror}", err=True)
        sys.exit(2)
    if as_json:
        checks = [{"check": line.name, "outcome": line.outcome, "detail": line.detail} for line in report.lines]
        document = {"exit_code": report.exit_code, "checks": checks, "not_checked": list(report.not_checked)}
        click.echo(json.dumps(document, indent=1))
    else:
        for line in report.lines:
            click.echo(f"{line.outcome:<8}{line.name:<16} {line.detail}")
        for note in report.not_checked:
            click.echo(f"not checked: {note}")
    sys.exit(report.exit_code)


@click.group()
def receipts() -> None:
    """Read receipts from the running service."""


@receipts.command()
@click.argument("receipt_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout (it is JSON either way).")
def show(receipt_id: str, as_json: bool) -> None:  # noqa: ARG001 - accepted on every command
    """Print a receipt."""
    click.echo(json.dumps(_get(f"/v1/receipts/{receipt_id}"), indent=1))


@receipts.command()
@click.argument("receipt_id")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Where to; default stdout.")
def bundle(receipt_id: str, output: Path | None) -> None:
    """Fetch what `lucid verify` needs."""
    content = _fetch(f"/v1/receipts/{receipt_id}/bundle")
    if output is None:
        click.echo(content, nl=False)
    else:
        output.write_bytes(content)


@receipts.command()
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Where to; default stdout.")
def trust(output: Path | None) -> None:
    """Fetch the service's public keys. Trust them only as far as you trust this connection; then pin the file."""
    content = _fetch("/v1/trust")
    if output is None:
        click.echo(content, nl=False)
    else:
        output.write_bytes(content)


@click.group()
def epochs() -> None:
    """Read epochs from the running service."""


@epochs.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def list_epochs(as_json: bool) -> None:
    """List epochs, newest first."""
    document = _get("/v1/epochs")
    if as_json:
        click.echo(json.dumps(document, indent=1))
        return
    for epoch in document["epochs"]:
        click.echo(f"{epoch['epoch_id']}  {epoch['status']:<10} {epoch['leaf_count']} receipts")


def _get(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_fetch(path))
    return document


def _fetch(path: str) -> bytes:
    import httpx

    base = os.environ.get("LUCID_URL") or home_endpoints().get("web", "")
    if not base:
        click.echo("no service is running in this home; set LUCID_URL to name one", err=True)
        sys.exit(2)
    try:
        answer = httpx.get(base + path, timeout=30, trust_env=False)
    except httpx.HTTPError as error:
        click.echo(f"{base} does not answer: {type(error).__name__}", err=True)
        sys.exit(1)
    if answer.status_code != httpx.codes.OK:
        click.echo(f"{base}{path} answered {answer.status_code}", err=True)
        sys.exit(1)
    return answer.content
