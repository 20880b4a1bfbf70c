"""The simulated model as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[3]


class SimProcess:
    """A running simulated model and its control routes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "devstack.sim_model", "--port", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        assert ready["ready"] is True
        self.port: int = ready["port"]
        self.base_url: str = ready["base_url"]
        self.control = httpx.Client(base_url=self.base_url.removesuffix("/v1"), timeout=10)

    def fault(self, fault: str, **order: Any) -> None:
        self.control.post("/faults", json={"fault": fault, **order}).raise_for_status()

    def requests(self, *, since: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = self.control.get("/requests", params={"since": since}).json()
        return answer

    def outcome_of(self, number: int) -> str:
        """Return how request `number` ended, once it has; still `running` after five seconds."""
        deadline = time.monotonic() + 5
        while True:
            outcome: str = self.requests(since=number - 1)["requests"][0]["outcome"]
            if outcome != "running" or time.monotonic() > deadline:
                return outcome

    def stop(self) -> int:
        self.control.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()
