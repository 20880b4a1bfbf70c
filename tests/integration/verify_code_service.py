"""A service that says what the test wants, for `lucid verify-code`: it finds a defect wherever something is subtracted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Service:
    """A service that finds a FAIL in what subtracts, a PARTIAL in what divides. `refusals` are answered first."""

    url: str
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    fails: bool = False
    is_endless: bool = False
    asked: list[tuple[dict[str, Any], dict[str, str]]] = field(default_factory=list)
    looks: int = 0

    def post(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Answer what a pipeline is asked."""
        self.asked.append((body, headers))
        if self.refusals:
            status, more, code = self.refusals.pop(0)
            return status, more, {"error": {"code": code, "message": "no \x1b[31mwords"}, "request_id": "req_0"}
        return 202, {}, {"request_id": f"req_{len(self.asked)}", "state": "queued"}

    def get(self, path: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Answer about a run: at first it goes on."""
        number = int(path.split("/")[4].removeprefix("req_"))
        code = self.asked[number - 1][0]["code"]
        if path.endswith("/sarif"):
            return 200, {}, a_log(code)
        self.looks += 1
        shown: dict[str, Any] = {"request_id": f"req_{number}", "state": "running"}
        if self.fails:
            shown |= {"state": "failed", "error": {"code": "upstream_error", "message": "the model is away"}}
        elif self.looks % 2 == 0 and not self.is_endless:
            shown |= {"state": "complete", "result": a_result(code, f"req_{number}")}
        return 200, {}, shown


def a_result(code: str, request_id: str) -> dict[str, Any]:
    verdict = "FAIL" if "-" in code else "PARTIAL" if "/" in code else "PASS"
    counts = {"passed": verdict == "PASS", "failed": verdict == "FAIL", "partial": verdict == "PARTIAL"}
    found = {
        "claimId": "CLAIM-001",
        "verdict": verdict,
        "reasoning": "it returned -1",
        "evidence": "return",
        "evidence_kind": "executed",
        "lines": {"first": 2, "last": 2},
    }
    fixes = [{"claimId": "CLAIM-001", "title": "Mend it", "codeGuidance": "return a + b"}] if verdict == "FAIL" else []
    claim = {
        "id": "CLAIM-001",
        "category": "correctness",
        "severity": "critical",
        "description": "add \x1b[2J adds",
        "assertion": "add(1, 2) should return 3",
    }
    claims, verdicts = [claim], [found]
    if "endless" in code:
        unread = {"id": "CLAIM-002", "basis": "rule", "description": "Not looked at: endless."}
        claims.append(unread)
        verdicts.append({"claimId": "CLAIM-002", "verdict": "N/A", "reasoning": unread["description"]})
    figures = {"not_applicable": len(verdicts) - 1, "total": len(verdicts)}
    return {
        "request_id": request_id,
        "code": code,
        "claims": {"count": len(claims), "items": claims},
        "verification": {**{k: int(v) for k, v in counts.items()}, **figures, "items": verdicts},
        "remediation": {"count": len(fixes), "items": fixes},
    }


def a_log(code: str) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": {"uri": "code.py", "index": 0}, "region": {"startLine": 2}}}
    run = {
        "tool": {"driver": {"name": "LUCID", "rules": []}},
        "invocations": [{"executionSuccessful": True}],
        "artifacts": [{"location": {"uri": "code.py"}}],
        "results": [{"ruleId": "lucid/correctness", "message": {"text": code}, "locations": [place]}],
    }
    return {"$schema": "s", "version": "2.1.0", "runs": [run]}


@contextmanager
def running_service() -> Iterator[Service]:
    """A service of its own, until the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.give(*running.post(body, {"path": self.path, **dict(self.headers)}))

        def do_GET(self) -> None:
            self.give(*running.get(self.path))

        def give(self, status: int, headers: dict[str, str], document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Service(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield running
        server.shutdown()
        thread.join()
