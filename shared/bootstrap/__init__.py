"""The composition root: settings in, a container of working parts out. The only place where parts meet.

Parts are built on first use, so that a process imports and connects to only what its role needs: a web process never
imports grpc (a test says so), a relay never builds a model client.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from config.logging import configure_logging
from config.settings import Settings, SettingsError
from shared.bootstrap.container import Container
from shared.bootstrap.roles import Role
from shared.db.migrations import require_current
from shared.kernel import failpoints

__all__ = ["Container", "Role", "build", "start", "start_from_environment"]


def build(settings: Settings, role: Role) -> Container:
    """Return the container of one process. Connects to nothing yet."""
    return Container(settings, role)


def start(environment: Mapping[str, str], role: Role) -> Container:
    """Begin a process: read settings, configure logs, arm failpoints, refuse a wrong schema.

    Raises `SystemExit` with every missing setting named, `SchemaMismatch` where the database is not at this code's schema.
    """
    try:
        settings = Settings.load(environment)
    except SettingsError as error:
        raise SystemExit("cannot start:\n  " + "\n  ".join(error.faults)) from None
    configure_logging(role=role, level=settings.log_level)
    failpoints.arm(environment.get("FAILPOINTS", ""))
    require_current(settings.database_url)
    return build(settings, role)


def start_from_environment(role: Role) -> Container:
    """Begin a process from this machine's environment, the one place that reads it."""
    return start(os.environ, role)
