"""gunicorn's settings. This file is read in the master, before gevent patches the workers: nothing of ours is imported here.

The application is imported in each worker, after the fork and after the patch, so that psycopg, redis and threads cooperate.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

_is_embedded = os.environ.get("LUCID_ENV") == "embedded"
_host = os.environ.get("HOST") or ("127.0.0.1" if _is_embedded else "0.0.0.0")  # noqa: S104 - a container's own address

bind = f"{_host}:{os.environ.get('PORT') or 3001}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "web.serving.JsonWorker"
worker_connections = 1000
preload_app = False
backlog = 512
timeout = 120
graceful_timeout = 25
keepalive = 75
control_socket_disable = True
forwarded_allow_ips = ""
limit_request_line = 8190
limit_request_fields = 100
max_requests = 0
proc_name = "lucid-web"
loglevel = (os.environ.get("LOG_LEVEL") or "INFO").lower()
errorlog = "-"
accesslog = None
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "web.serving.JsonLine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "loggers": {"gunicorn.error": {"handlers": ["stderr"], "level": loglevel.upper(), "propagate": False}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_temporary: list[str] = []


def on_starting(_server: Any) -> None:
    """Give the workers an empty folder for their request counts, which `/metrics` adds up: what an earlier boot left is not ours."""
    folder = os.environ.get(METRICS_FOLDER)
    if not folder and os.environ.get("LUCID_HOME"):
        folder = str(Path(os.environ["LUCID_HOME"]) / "web-metrics")
    if not folder:
        folder = tempfile.mkdtemp(prefix="lucid-web-metrics-")
        _temporary.append(folder)
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in Path(folder).glob("*.db"):
        left.unlink()
    os.environ[METRICS_FOLDER] = folder


def child_exit(_server: Any, worker: Any) -> None:
    """Forget what was true only while this worker lived; what it counted stays counted."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call] # the library leaves it untyped


def on_exit(_server: Any) -> None:
    """Leave nothing in the machine's temporary folder."""
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)
