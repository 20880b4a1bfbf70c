"""The settings that a command beside the service goes by: the environment, and what a stack in this home fills in."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from config.settings import Settings, SettingsError
from devstack.endpoints import settings_of
from devstack.faults import StackFault
from devstack.home import home_of


def environment_here() -> dict[str, str]:
    """Return the environment as the service has it; what is not set comes from the stack that runs in this home.

    Raises `SystemExit` (2) where the home cannot be read.
    """
    home = home_of(os.environ)
    try:
        return settings_of(home, os.environ)
    except StackFault as error:
        click.echo(f"{error.problem}: {error.remedy}", err=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        click.echo(f"{home.folder} cannot be read as the home of a stack ({type(error).__name__})", err=True)
    raise SystemExit(2)


def settings_in(environment: Mapping[str, str]) -> Settings:
    """Return the settings. Raises `SystemExit` (2) with every missing one named."""
    try:
        return Settings.load(environment)
    except SettingsError as error:
        lines = [f"no stack runs in {home_of(environment).folder}, and the environment is not complete:"]
        if home_of(environment).endpoints.exists():
            lines = ["the environment is not complete:"]
        click.echo("\n  ".join([*lines, *error.faults]), err=True)
        raise SystemExit(2) from None
