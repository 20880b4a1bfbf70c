"""`python -m benchmarks`: start the stack, measure, print. Exit code 0 when everything could be measured, goals met or not."""

from __future__ import annotations

import json
import os
import signal
import sys
from types import FrameType
from typing import Any

import click

from benchmarks import agent, box, floors, gateway, log_appends, outbox, report, settlement, throughput, verification
from benchmarks.effort import FULL, QUICK, SMOKE
from benchmarks.ground import Ground, open_ground
from benchmarks.report import Measured
from config.logging import configure_logging
from shared.bootstrap import Role
from shared.kernel.clock import SystemClock

BENCHES = {
    "floors": floors.measure,
    "outbox": outbox.measure,
    "settlement": settlement.measure,
    "agent": agent.measure,  # compares the books with the node's, so before throughput's peer makes invoices beside them
    "throughput": throughput.measure,
    "gateway": gateway.measure,
    "verification": verification.measure,
    "log": log_appends.measure,
}
EFFORTS = {"smoke": SMOKE, "quick": QUICK, "full": FULL}


@click.command()
@click.option("--full", "effort", flag_value="full", help="Many more samples: about half an hour.")
@click.option(
    "--smoke", "effort", flag_value="smoke", help="A handful of samples: shows that it runs, and nothing else."
)
@click.option("--only", type=click.Choice(list(BENCHES)), multiple=True, help="Only these; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def main(effort: str | None, only: tuple[str, ...], *, as_json: bool) -> None:
    """Measure the running product against its peers and floors. The quick way, without options, takes about seven minutes."""
    signal.signal(signal.SIGTERM, _interrupt)
    configure_logging(role=Role.CLI, level="WARNING")
    chosen = effort or "quick"
    machine = box.describe()
    click.echo(_headline(machine, chosen), err=as_json)
    measured = []
    with open_ground() as ground:
        for name in [name for name in BENCHES if not only or name in only]:
            measured.append(_measure(ground, name, chosen))
            click.echo(report.as_text(measured[-1]), err=as_json)
    click.echo(_verdict(measured), err=as_json)
    if as_json:
        click.echo(json.dumps(report.as_json(machine, effort=chosen, measured=measured), indent=1, ensure_ascii=False))


def _measure(ground: Ground, name: str, effort: str) -> Measured:
    clock = SystemClock()
    before, began, others = box.load(), clock.monotonic(), _cpu_of_others()
    section = BENCHES[name](ground, EFFORTS[effort])
    took_s = clock.monotonic() - began
    return Measured(name, section, before, box.load(), took_s, (_cpu_of_others() - others) / took_s)


def _cpu_of_others() -> float:
    return box.cpu_of_all() - box.cpu_of_tree(os.getpid())


def _headline(machine: dict[str, Any], effort: str) -> str:
    text = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    return f"{text}, Python {machine['python']}; {effort} run, load average {box.load():.2f}"


def _verdict(measured: list[Measured]) -> str:
    missed = report.missed(measured)
    return "\n".join(["\nGoals missed:", *(f"  {line}" for line in missed)] if missed else ["\nEvery goal is met."])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
