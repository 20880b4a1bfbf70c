"""gunicorn's settings. This file is read in the master, before gevent patches the workers: nothing of ours is imported here.

The application is imported in each worker, after the fork and after the patch, so that psycopg, redis and threads cooperate.
"""

from __future__ import annotations

import os

_is_embedded = os.environ.get("LUCID_ENV") == "embedded"
_host = os.environ.get("HOST") or ("127.0.0.1" if _is_embedded else "0.0.0.0")  # noqa: S104 - a container's own address

bind = f"{_host}:{os.environ.get('PORT') or 3001}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "web.serving.JsonWorker"
worker_connections = 1000
preload_app = False
backlog = 512
timeout = 60
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
