"""Three bitcoin exchanges in one local HTTP server: a price feed that a test can take away."""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PRICE_USD = "100000"


class PriceExchange(ThreadingHTTPServer):
    """Answers in the three exchanges' own formats while `is_open`; else with 503."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.is_open = True
        super().__init__(("127.0.0.1", 0), _Answers)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    @property
    def feeds(self) -> str:
        """The `BTC_PRICE_FEEDS` of this server."""
        base = f"http://127.0.0.1:{self.server_port}"
        return ",".join(f"{name}={base}/{name}" for name in _BODIES)


_BODIES: dict[str, Any] = {
    "coinbase": {"data": {"amount": PRICE_USD, "base": "BTC", "currency": "USD"}},
    "kraken": {"error": [], "result": {"XXBTZUSD": {"c": [PRICE_USD, "0.1"]}}},
    "bitstamp": {"last": PRICE_USD},
}


class _Answers(BaseHTTPRequestHandler):
    server: PriceExchange

    def do_GET(self) -> None:
        is_open = self.server.is_open
        body = json.dumps(_BODIES[self.path.strip("/")] if is_open else {"error": "closed"}).encode()
        self.send_response(HTTPStatus.OK if is_open else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep the test's output clean."""
