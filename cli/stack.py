"""`lucid up`: the embedded stack in the foreground."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

import click

from devstack.faults import StackFault, StartFailed
from devstack.home import home_of
from devstack.supervisor import Stack

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupted(BaseException):
    """A stop signal arrived; not an `Exception`, so that nothing on the way up takes it for a failure."""


@click.command()
def up() -> None:
    """Run the whole stack until Ctrl-C.

    What the environment does not configure is started here: PostgreSQL, Valkey, a local model, Lightning sandbox nodes, a
    witness. The data is in ${LUCID_HOME:-.lucid}, the address is http://127.0.0.1:${PORT:-3001}, and
    $LUCID_HOME/endpoints.json says what runs where. LUCID_LLM=sim starts without the real model.
    Exit code 0 after a stop by signal, 1 if the stack did not come up.
    """
    for number in _STOP_SIGNALS:
        signal.signal(number, _interrupt)
    started = time.monotonic()
    stack = Stack(
        home_of(os.environ).folder,
        os.environ,
        real_model=os.environ.get("LUCID_LLM") != "sim",
        on_event=lambda line: click.echo(line, err=True),
    )
    try:
        stack.start()
        _announce(stack, time.monotonic() - started)
        threading.Event().wait()
    except StackFault as fault:
        _explain(fault)
        sys.exit(1)
    except _Interrupted:
        click.echo("stopping …", err=True)
    finally:
        stack.stop()
    click.echo("stopped", err=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Raise once: a second Ctrl-C must not cut the stop short, which has its own limit of 30 seconds."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise _Interrupted


def _announce(stack: Stack, took_s: float) -> None:
    endpoints = stack.endpoints
    click.echo(f"\nready after {took_s:.1f} s: {endpoints['web']}\n")
    parts = {
        "flower": f"{endpoints['flower']['url']} (user {endpoints['flower']['user']})",
        "model": f"{endpoints['llm']} ({stack.environment['WORK_MODEL']})",
        "simulated model": endpoints["sim_llm"],
        "Lightning node": endpoints["lnd"]["rest"] if "lnd" in endpoints else stack.environment["LND_GRPC"],
        "Lightning wallet": endpoints["wallet"]["rest"] if "wallet" in endpoints else "none: LND_GRPC is set",
        "witness": endpoints["witness"],
        "all addresses": stack.home.endpoints,
        "logs": stack.home.log("web").parent,
    }
    for name, where in parts.items():
        click.echo(f"  {name:<17} {where}")
    click.echo("\nCtrl-C stops it all.")


def _explain(fault: StackFault) -> None:
    click.echo(f"lucid: {fault.problem}", err=True)
    if isinstance(fault, StartFailed) and fault.log_tail:
        click.echo(fault.log_tail, err=True)
    if fault.remedy:
        click.echo(f"  → {fault.remedy}", err=True)
