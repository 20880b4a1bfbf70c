"""`lucid doctor`: examine a running service, say what is wrong and what to do about it. Changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from cli.findings import Finding, Level, fault, needs_a_hand, ok, warning
from cli.surroundings import environment_here, settings_in
from config.logging import configure_logging
from config.settings import Settings
from devstack import machine
from devstack.faults import StackFault
from devstack.files import read_json
from devstack.home import home_of

PATIENCE_S = 15.0
_PROGRESS_S = 2.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(as_json: bool) -> None:
    """Examine the service: its parts, its work, its books, its log, this machine.

    Reads the environment as the service does; what is not set comes from the stack that runs in ${LUCID_HOME:-.lucid}. The
    log is rebuilt from every receipt. Exit code 0 when nothing needs a hand (warnings change nothing), 1 when something does,
    2 when there is nothing to examine or a setting is missing.
    """
    findings = examine(environment_here(), patience_s=PATIENCE_S, on_event=lambda line: click.echo(line, err=True))
    if as_json:
        shown = [
            {"check": found.check, "level": found.level, "detail": found.detail, "remedy": found.remedy}
            for found in findings
        ]
        click.echo(json.dumps({"needs_a_hand": needs_a_hand(findings), "findings": shown}, indent=1))
    else:
        for found in findings:
            click.echo(f"{found.level:<8}{found.check:<11} {found.detail}")
            if found.remedy:
                click.echo(f"{'':<19}  → {found.remedy}")
    sys.exit(1 if needs_a_hand(findings) else 0)


def examine(
    environment: Mapping[str, str], *, patience_s: float, on_event: Callable[[str], None] = lambda _line: None
) -> list[Finding]:
    """Return what every check finds. Raises `SystemExit` (2) where a setting is missing.

    `patience_s`: how long what is merely late may take to catch up. `on_event` gets lines for people during long checks.
    """
    from cli.reach import reachability

    settings = settings_in(environment)
    configure_logging(role="cli", level="ERROR")
    found = [*_machine(environment), *access(settings), *reachability(settings, web=_web(environment))]
    if _is_down("database", found) or _is_down("schema", found):
        unchecked = "work, ledger and log were not checked"
        return [*found, warning("records", unchecked, "run this again once the database is right")]
    return [*found, *_records(settings, patience_s=patience_s, on_event=on_event)]


def _records(settings: Settings, *, patience_s: float, on_event: Callable[[str], None]) -> list[Finding]:
    from cli import records
    from shared.bootstrap import Role, build

    container = build(settings, Role.CLI)
    progress = _Progress(on_event, container.clock.monotonic)
    try:
        return [
            *_checked("work", lambda: records.motion(container, patience_s=patience_s)),
            *_checked("runs", lambda: records.runs(container, patience_s=patience_s)),
            *_checked("verifications", lambda: records.verifications(container, patience_s=patience_s)),
            *_checked("ledger", lambda: records.books(container)),
            *_checked("reconcile", lambda: records.reconciled(container)),
            *_checked("log", lambda: records.log(container, on_progress=progress)),
        ]
    finally:
        container.database.close()


def _checked(check: str, examination: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return examination()
    except Exception as error:  # noqa: BLE001 - one examination that breaks down must not hide what the others find
        return [
            fault(
                check, f"could not be examined ({type(error).__name__})", "see that the database stays up, and repeat"
            )
        ]


def _machine(environment: Mapping[str, str]) -> list[Finding]:
    """Check what the embedded parts ask of this machine: disk where the home is, and AVX2 where the model runs here."""
    home = home_of(environment)
    folder = home.folder if home.folder.is_dir() else Path.cwd()
    found = [ok("disk", f"there is room under {folder}")]
    try:
        machine.require_disk(
            folder,
            bytes_needed=machine.HOME_DISK_BYTES,
            purpose="Lucid",
            remedy="free some: a full disk stops the stores",
        )
    except StackFault as error:
        found = [fault("disk", error.problem, error.remedy)]
    own_model = f"http://127.0.0.1:{read_json(home.folder / 'ports.json').get('model')}/v1"
    if environment.get("OPENAI_BASE_URL") == own_model:
        try:
            machine.require_avx2()
            found.append(ok("cpu", "has what the embedded model needs"))
        except StackFault as error:
            found.append(fault("cpu", error.problem, error.remedy))
    return found


def access(settings: Settings) -> list[Finding]:
    """Judge who may call the gateway. What is meant for a stack of one's own is not for everybody."""
    if not settings.anonymous_calls:
        return [ok("access", "the gateway asks for API keys")]
    detail = f"the gateway answers without a key, {settings.anonymous_per_minute} calls a minute and address"
    if settings.is_production:
        return [warning("access", detail, "unset ANONYMOUS_CALLS, unless that is meant")]
    return [ok("access", detail)]


def _web(environment: Mapping[str, str]) -> str:
    return environment.get("LUCID_URL") or str(read_json(home_of(environment).endpoints).get("web", ""))


def _is_down(check: str, findings: list[Finding]) -> bool:
    return any(found.check == check and found.level is Level.FAULT for found in findings)


class _Progress:
    """Says how far the log is compared, every two seconds."""

    def __init__(self, on_event: Callable[[str], None], now: Callable[[], float]) -> None:
        self._on_event = on_event
        self._now = now
        self._said_at = now()

    def __call__(self, done: int, size: int) -> None:
        if self._now() - self._said_at >= _PROGRESS_S:
            self._said_at = self._now()
            self._on_event(f"log: {done} of {size} receipts compared")
