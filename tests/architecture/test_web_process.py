"""What a web process loads: Flask and the stores' drivers, never gRPC, Celery, a model's client or the workers."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.architecture.settings_page import filled_in
from tests.architecture.source_tree import ROOT

BUILD = """
import os, sys
from config.settings import Settings
from shared.bootstrap import Role, build
from web.app import create_app

app = create_app(build(Settings.load(os.environ), Role.WEB))
assert app.test_client().get("/health/live").status_code == 200
assert app.test_client().get("/openapi.json").status_code == 200
print(*sys.modules)
"""
ABSENT = {"grpc", "lndgrpc", "celery", "kombu", "openai", "workers", "devstack", "cli", "shared.lightning.clients.lnd"}


def test_a_web_process_loads_neither_grpc_nor_celery_nor_openai_and_needs_no_database_to_be_built() -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", BUILD],
        cwd=ROOT,
        env={**kept, **filled_in()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert {"flask", "psycopg", "redis"} <= loaded
    assert loaded.isdisjoint(ABSENT)
