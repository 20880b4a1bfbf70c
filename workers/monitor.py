"""Flower behind a password, read-only. Flower leaves some paths open (metrics, health, static files): the guard closes all."""

from __future__ import annotations

import base64
import hmac
import os
import sys
from typing import Any

import flower.command
from flower.app import Flower
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from config.settings import Settings, SettingsError

DEFAULT_PORT = 5555


class Unauthorized(RequestHandler):
    """Answers every request that does not know the password."""

    def prepare(self) -> None:
        """Say so, and nothing else."""
        self.set_status(401)
        self.set_header("WWW-Authenticate", 'Basic realm="flower"')
        self.finish({"error": "unauthorized"})


class GuardedFlower(Flower):  # type: ignore[misc] # flower ships no types
    """Flower whose router asks for the password before it looks at the path."""

    expected = b""

    def find_handler(self, request: HTTPServerRequest, **arguments: Any) -> Any:
        """Route a request that carries the password; refuse any other."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, self.expected):
            return self.get_handler_delegate(request, Unauthorized)
        return super().find_handler(request, **arguments)


def main() -> None:
    """Run Flower on `FLOWER_PORT` (default 5555) of `HOST` (default 127.0.0.1)."""
    try:
        settings = Settings.load(os.environ)
    except SettingsError as error:
        raise SystemExit("cannot start:\n  " + "\n  ".join(error.faults)) from None
    credentials = f"{settings.flower_user}:{settings.flower_password}"
    GuardedFlower.expected = b"Basic " + base64.b64encode(credentials.encode())
    flower.command.Flower = GuardedFlower
    os.environ["FLOWER_BASIC_AUTH"] = credentials  # not an argument: the process list is public
    for name in ("FLOWER_USER", "FLOWER_PASSWORD"):
        os.environ.pop(name, None)  # ours, and no options of Flower's
    port = os.environ.pop("FLOWER_PORT", "") or str(DEFAULT_PORT)
    from celery.__main__ import main as celery

    sys.argv = [
        "celery",
        "-A",
        "workers.app",
        "flower",
        f"--port={port}",
        f"--address={os.environ.get('HOST', '127.0.0.1')}",
        "--read_only",
        "--max_tasks=5000",
        "--persistent=False",
    ]
    celery()


if __name__ == "__main__":
    main()
