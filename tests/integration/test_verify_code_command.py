"""`lucid verify-code` against a service that says what the test wants: what it asks, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.e2e.patience import eventually
from tests.integration.verify_code_service import Service, running_service

ADDS = "def add(a, b):\n    return a + b\n"
SUBTRACTS = "def add(a, b):\n    return a - b\n"
KEY = "lk_test_" + "0" * 64
_WITH_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cli.main import main; main()"
)
"""The command as a terminal starts it: what a script puts in the background inherits that Ctrl-C means nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    """A service of its own for each test."""
    with running_service() as service:
        yield service


def run(service: Service, *words: str | Path, key: str = KEY, given: bytes | None = None) -> Result:
    environment = {"LUCID_URL": service.url, "LUCID_API_KEY": key}
    return CliRunner().invoke(main, ["verify-code", *map(str, words)], env=environment, input=given)


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


def test_what_nobody_looked_at_is_told(service: Service, tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.py", "def endless():\n    ...\n")
    result = run(service, path)
    assert (result.exit_code, result.stdout.splitlines()[1:]) == (0, [f"{path}: N/A: Not looked at: endless."])


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


@pytest.mark.parametrize("codes", [[SUBTRACTS, ADDS], [ADDS]])
def test_sarif_says_which_files_were_not_verified_and_is_no_success(
    service: Service, tmp_path: Path, codes: list[str]
) -> None:
    service.refusals = [(400, {}, "invalid_request")]
    files = [a_file(tmp_path, f"{number}.py", code) for number, code in enumerate(codes)]
    result = run(service, *files, "--format", "sarif")
    assert result.exit_code == 3
    (only,) = json.loads(result.stdout)["runs"]
    failed, *others = only["invocations"]
    assert failed["executionSuccessful"] is False
    (told,) = failed["toolExecutionNotifications"]
    assert (told["level"], told["message"]) == ("error", {"text": "not verified: invalid_request: no \x1b[31mwords"})
    assert told["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": files[0].as_uri()}}}]
    assert len(others) == len(only["artifacts"]) == len(only["results"]) == len(codes) - 1


def test_sarif_names_a_file_whose_name_is_no_utf_8(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text(ADDS)
    result = run(service, ".", "--format", "sarif")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["runs"][0]["artifacts"][0]["location"]["uri"] == "caf%E9.py"


@pytest.mark.parametrize("content", ["", "\r\n", "\ufeff", "\ufeff \n"])
@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_files_without_text_are_skipped_and_are_nothing_to_verify(
    service: Service, tmp_path: Path, content: str, form: str
) -> None:
    empty = a_file(tmp_path, "package/__init__.py", content)
    for words in ([empty], [empty.parent]):
        result = run(service, *words, "--format", form, key="")
        assert result.exit_code == 0, result.output
        assert result.stderr == f"{empty}: skipped: it is empty\nthere is nothing to verify\n"
        assert service.asked == []
        if form == "text":
            assert result.stdout == ""
        else:
            assert not any(json.loads(result.stdout).get(member) for member in ("files", "results"))


def test_files_without_text_are_skipped_beside_others(service: Service, tmp_path: Path) -> None:
    files = [a_file(tmp_path, "__init__.py", ""), a_file(tmp_path, "a.py", SUBTRACTS)]
    result = run(service, *files)
    assert result.exit_code == 1
    assert result.stderr == f"{files[0]}: skipped: it is empty\n[1/1] {files[1]}\n"


def test_a_byte_order_mark_is_sent_as_it_is(service: Service, tmp_path: Path) -> None:
    context = a_file(tmp_path, "context.txt", "\ufeffadd two numbers")
    assert run(service, a_file(tmp_path, "a.py", "\ufeff" + ADDS), "--context", f"@{context}").exit_code == 0
    body, _ = service.asked[0]
    assert body == {"code": "\ufeff" + ADDS, "language": "python", "context": "add two numbers"}


def test_a_file_that_is_not_utf_8_is_told_with_its_place_and_skipped_in_a_directory(
    service: Service, tmp_path: Path
) -> None:
    latin = tmp_path / "latin.py"
    latin.write_bytes(b"# one\n# caf\xe9\n")
    named = run(service, latin)
    assert (named.exit_code, service.asked) == (2, [])
    assert "latin.py: it is not UTF-8: byte 0xe9 in line 2; convert it, or leave it out" in " ".join(
        named.stderr.split()
    )
    alone = run(service, tmp_path)
    assert alone.exit_code == 2
    a_file(tmp_path, "a.py", ADDS)
    beside = run(service, tmp_path)
    assert (beside.exit_code, len(service.asked)) == (0, 1)
    assert f"{latin}: skipped: it is not UTF-8: byte 0xe9 in line 2\n" in beside.stderr


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
@pytest.mark.parametrize("is_terminated", [True, False])
def test_names_are_read_from_a_file_or_from_standard_input(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: bytes, is_terminated: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["-a b.py", "ä.py", "folder"] + (["two\nlines.py"] if separator == b"\0" else [])
    for name in names:
        a_file(tmp_path, f"{name}/c.py" if name == "folder" else name, f"x = '{name}'")
    listed = separator.join(name.encode() for name in names) + (separator if is_terminated else b"")
    (tmp_path / "names").write_bytes(listed)
    assert run(service, "--files-from", "names", "--fail-on", "never").exit_code == 0
    assert [body["code"] for body, _ in service.asked] == [f"x = '{name}'" for name in names]
    service.asked.clear()
    assert run(service, "folder", "--files-from", "-", "--fail-on", "never", given=listed).exit_code == 0
    assert {body["code"] for body, _ in service.asked} == {f"x = '{name}'" for name in names}
    assert len(service.asked) == len(names)


def test_a_list_without_names_is_nothing_to_verify(service: Service) -> None:
    result = run(service, "--files-from", "-", given=b"", key="")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there is nothing to verify\n")


def test_it_tells_how_far_it_is(service: Service, tmp_path: Path) -> None:
    files = [a_file(tmp_path, "a.py", ADDS), a_file(tmp_path, "b\x1b.py", ADDS)]
    assert run(service, *files).stderr == f"[1/2] {files[0]}\n[2/2] {tmp_path}/b .py\n"


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
    service.refusals = [
        (429, {"Retry-After": "1"}, "rate_limited"),
        (500, {"Retry-After": "0"}, "internal_error"),
        (503, {"Retry-After": "0"}, "unavailable"),
    ]
    assert run(service, a_file(tmp_path, "a.py", ADDS)).exit_code == 0
    assert len({headers["Idempotency-Key"] for _, headers in service.asked}) == 1
    assert len(service.asked) == 4


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


def test_an_interrupted_one_does_not_end_as_if_it_had_found_something(service: Service, tmp_path: Path) -> None:
    service.is_endless = True
    words = [sys.executable, "-c", _WITH_CTRL_C, "verify-code", str(a_file(tmp_path, "a.py", ADDS))]
    environment = {**os.environ, "LUCID_URL": service.url, "LUCID_API_KEY": KEY}
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as command:
        try:
            eventually(lambda: service.looks, what="a look at the run")
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=30)
        finally:
            command.kill()
    assert command.returncode == 130
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said


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
        (["bare"], "no source code"),
        (["--files-from", "missing"], "No such file"),
        (["--files-from", "names"], "nowhere.py: there is no such file"),
        (["a.py", "--context", "@missing"], "cannot read missing: No such file"),
        (["a.py", "--url", "127.0.0.1:3001"], "neither http:// nor https://"),
        (["a.py", "--key", "lk_live_…"], "was it cut short?"),
        (["a.py", "--output", "nowhere/report"], "cannot write nowhere/report"),
        (["a.py", "--fail-on", "sometimes"], "Invalid value"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_asks_nobody(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare").mkdir()
    for name, content in (("a.py", b"x"), ("notes.md", b"x"), ("bad.py", b"\xff"), ("names", b"nowhere.py\n")):
        (tmp_path / name).write_bytes(content)
    result = run(service, *words)
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
