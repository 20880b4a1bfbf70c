"""The `lucid` command: one table of subcommands, each imported only when it is called.

Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 130 interrupted; others are named in the command's own help.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

INTERRUPTED = 130
"""128 + SIGINT, as shells tell it; 1 would read as what a command found."""

COMMANDS = {
    "up": "cli.stack:up",
    "demo": "cli.demo:demo",
    "migrate": "cli.database:migrate",
    "verify": "cli.proof:verify",
    "verify-code": "cli.verify_code:verify_code",
    "receipts": "cli.proof:receipts",
    "epochs": "cli.proof:epochs",
    "keys": "cli.keys:keys",
    "release": "cli.release:release",
    "catalog": "cli.catalog:catalog",
    "doctor": "cli.doctor:doctor",
    "reconcile": "cli.reconcile:reconcile",
    "sandbox": "cli.sandbox:sandbox",
    "diagrams": "cli.diagrams:diagrams",
}


class LazyGroup(click.Group):
    """Knows its subcommands by name and imports one only to run it (or to print its line of help)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click asks with it
        """Answer the names in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Import and answer one subcommand; None if the table has no such name."""
        where = COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; Ctrl-C ends it with `INTERRUPTED`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Sell and prove AI work: run the stack, manage keys, verify receipts."""


if __name__ == "__main__":
    main(prog_name="lucid")
