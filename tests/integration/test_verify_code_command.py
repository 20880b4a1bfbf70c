"""`lucid verify-code` against a service that says what the test wants: what it asks, what it prints, how it ends."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main

ADDS = "def add(a, b):\n    return a + b\n"
SUBTRACTS = "def add(a, b):\n    return a - b\n"
KEY = "lk_test_" + "0" * 64


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
    return {
        "request_id": request_id,
        "code": code,
        "claims": {"count": 1, "items": [claim]},
        "verification": {**{k: int(v) for k, v in counts.items()}, "not_applicable": 0, "total": 1, "items": [found]},
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


@pytest.fixture
def service() -> Iterator[Service]:
    """A service of its own for each test."""

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


def run(service: Service, *words: str | Path, key: str = KEY) -> Result:
    environment = {"LUCID_URL": service.url, "LUCID_API_KEY": key}
    return CliRunner().invoke(main, ["verify-code", *map(str, words)], env=environment)


def a_file(folder: Path, name: str, code: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(code.encode())
    return path


def test_a_file_that_passes_ends_with_0_and_was_sent_as_it_is(service: Service, tmp_path: Path) -> None:
    code = ADDS.replace("\n", "\r\n") + "# Ä🙂"
    context = a_file(tmp_path, "context.txt", "add two numbers")
    result = run(service, a_file(tmp_path, "a.py", code), "--context", f"@{context}")
    assert result.exit_code == 0, result.output
    assert "a.py: 1 passed, 0 failed, 0 partial, 0 not applicable (req_1)" in result.stdout
    body, headers = service.asked[0]
    assert body == {"code": code, "language": "python", "context": "add two numbers"}
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (headers["path"], headers["Prefer"]) == ("/api/v1/forward", "respond-async")


@pytest.mark.parametrize(
    ("code", "fail_on", "exit_code"),
    [
        (SUBTRACTS, "FAIL", 1),
        (SUBTRACTS, "PARTIAL", 1),
        (SUBTRACTS, "never", 0),
        ("def half(a):\n    return a / 3\n", "FAIL", 0),
        ("def half(a):\n    return a / 3\n", "PARTIAL", 1),
    ],
)
def test_findings_end_with_1_from_the_verdict_that_was_asked_for(
    service: Service, tmp_path: Path, code: str, fail_on: str, exit_code: int
) -> None:
    assert run(service, a_file(tmp_path, "a.py", code), "--fail-on", fail_on).exit_code == exit_code


def test_a_finding_is_told_as_compilers_do_and_steers_no_terminal(service: Service, tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.py", SUBTRACTS)
    lines = run(service, path).stdout.splitlines()
    assert lines[1:] == [
        f"{path}:2: FAIL critical correctness: add  [2J adds",
        "    asserted: add(1, 2) should return 3",
        "    found (executed): it returned -1",
        "    fix: Mend it: return a + b",
    ]


def test_json_holds_every_answer_and_their_sums(service: Service, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    files = [a_file(tmp_path, "a.py", ADDS), a_file(tmp_path, "b.ts", "let x = 1 - 1")]
    assert run(service, *files, "--format", "json", "-o", output).exit_code == 1
    document = json.loads(output.read_text())
    assert [file["result"]["request_id"] for file in document["files"]] == ["req_1", "req_2"]
    assert document["summary"] == {
        "passed": 1,
        "failed": 1,
        "partial": 0,
        "not_applicable": 0,
        "total": 2,
        "files": 2,
        "not_verified": 0,
    }
    assert [body["language"] for body, _ in service.asked] == ["python", "typescript"]


def test_sarif_is_one_run_for_all_files_under_their_own_names(service: Service, tmp_path: Path) -> None:
    files = [a_file(tmp_path, "a b.py", ADDS), a_file(tmp_path, "c.py", SUBTRACTS)]
    log = json.loads(run(service, *files, "--format", "sarif", "--fail-on", "never").stdout)
    (only,) = log["runs"]
    uris = [artifact["location"]["uri"] for artifact in only["artifacts"]]
    assert uris == [path.as_uri() for path in files]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in only["results"]]
    assert places == [{"uri": uri, "index": index} for index, uri in enumerate(uris)]


def test_a_directory_stands_for_its_sources_without_what_git_ignores(service: Service, tmp_path: Path) -> None:
    a_file(tmp_path, "seen/a.py", ADDS)
    a_file(tmp_path, "seen/deep/b.js", "x")
    for name in ("seen/c.d.ts", "seen/notes.md", "seen/empty.py", "seen/ignored.py"):
        a_file(tmp_path, name, "" if "empty" in name else "y")
    a_file(tmp_path, ".gitignore", "ignored.py\n")
    a_file(tmp_path, "seen/binary.py", "").write_bytes(b"\xff\xfe")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert run(service, tmp_path / "seen").exit_code == 0
    assert [body["code"] for body, _ in service.asked] == [ADDS, "x"]
    service.asked.clear()
    assert run(service, tmp_path / "seen", "--language", "js").exit_code == 0
    assert [body["language"] for body, _ in service.asked] == ["javascript"]


def test_a_limit_is_waited_out_under_one_idempotency_key(service: Service, tmp_path: Path) -> None:
    service.refusals = [(429, {"Retry-After": "1"}, "rate_limited"), (503, {"Retry-After": "0"}, "unavailable")]
    assert run(service, a_file(tmp_path, "a.py", ADDS)).exit_code == 0
    assert len({headers["Idempotency-Key"] for _, headers in service.asked}) == 1
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("status", "code", "asked"), [(429, "quota_exceeded", 1), (401, "unauthorized", 1), (400, "invalid_request", 2)]
)
def test_what_the_service_refuses_ends_with_3(
    service: Service, tmp_path: Path, status: int, code: str, asked: int
) -> None:
    service.refusals = [(status, {"Retry-After": "1"}, code)] * 2
    result = run(service, a_file(tmp_path, "a.py", ADDS), a_file(tmp_path, "b.py", SUBTRACTS))
    assert result.exit_code == 3
    assert len(service.asked) == asked
    assert f"b.py: not verified: {code}: no  [31mwords" in result.stdout


def test_a_run_that_failed_ends_with_3_and_the_other_files_are_verified(service: Service, tmp_path: Path) -> None:
    service.fails = True
    result = run(service, a_file(tmp_path, "a.py", ADDS), a_file(tmp_path, "b.py", ADDS))
    assert result.exit_code == 3
    assert len(service.asked) == 2
    assert "upstream_error: the model is away" in result.stderr


def test_a_run_that_takes_too_long_ends_with_3(service: Service, tmp_path: Path) -> None:
    service.is_endless = True
    result = run(service, a_file(tmp_path, "a.py", ADDS), "--timeout", "1")
    assert result.exit_code == 3
    assert "it goes on as req_1" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.py"], "there is no such file"),
        (["notes.md"], "say which with --language"),
        (["bad.py"], "not UTF-8"),
        (["empty.py"], "no source code"),
        (["a.py", "--context", "@missing"], "cannot read missing"),
        (["a.py", "--fail-on", "sometimes"], "Invalid value"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_asks_nobody(
    service: Service, tmp_path: Path, words: list[str], said: str
) -> None:
    for name, content in (("a.py", b"x"), ("notes.md", b"x"), ("bad.py", b"\xff"), ("empty.py", b"\n")):
        (tmp_path / name).write_bytes(content)
    result = run(service, *(tmp_path / word if word.endswith((".py", ".md")) else word for word in words))
    assert result.exit_code == 2
    assert said in result.output
    assert service.asked == []


def test_without_a_key_or_a_service_it_ends_with_2_and_with_one_that_is_away_with_3(tmp_path: Path) -> None:
    path = str(a_file(tmp_path, "a.py", ADDS))
    home = {"LUCID_HOME": str(tmp_path / "none"), "LUCID_URL": "", "LUCID_API_KEY": ""}
    assert CliRunner().invoke(main, ["verify-code", path], env=home).exit_code == 2
    assert CliRunner().invoke(main, ["verify-code", path], env={**home, "LUCID_API_KEY": KEY}).exit_code == 2
    away = {**home, "LUCID_API_KEY": KEY, "LUCID_URL": "http://127.0.0.1:9"}
    result = CliRunner().invoke(main, ["verify-code", path, "--timeout", "1"], env=away)
    assert result.exit_code == 3
    assert "does not answer" in result.stderr
