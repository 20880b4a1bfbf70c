"""The witness as a real process on a real socket, and the client that believes only its pinned key."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.kernel.signing import SigningKey
from shared.merkle.checkpoint import (
    Checkpoint,
    SignedCheckpoint,
    cosign,
    log_key,
    sign_checkpoint,
    verify_line,
    witness_key,
)
from shared.merkle.hashing import EMPTY_ROOT, leaf_hash
from shared.merkle.notes import MalformedNote, SignatureLine, VerifierKey
from shared.merkle.tree import append, consistency_proof, root_at
from shared.receipts.anchors.witness import AnchorRefused, AnchorUnavailable, WitnessBehind, WitnessClient

ORIGIN = "log.example/receipts"
LOG = SigningKey.from_seed(b"\x01" * 32)
STRANGER = SigningKey.from_seed(b"\x02" * 32)
REPOSITORY = Path(__file__).parents[2]
LEAVES = 1000
NODES = dict(append(0, (), [leaf_hash(index.to_bytes(2, "big")) for index in range(LEAVES)]).nodes)


def read(positions: Sequence[int]) -> Mapping[int, bytes]:
    return {position: NODES[position] for position in positions}


def head(size: int) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=root_at(size, read))


def note(size: int, key: SigningKey = LOG) -> str:
    return sign_checkpoint(head(size), key=key)


def proof(old_size: int, new_size: int) -> list[bytes]:
    return consistency_proof(old_size, new_size, read)


class WitnessProcess:
    """One run of `python -m devstack.witness`."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "devstack.witness", "--home", str(home), "--port", "0"]
        command += ["--log-origin", ORIGIN, "--log-key", log_key(ORIGIN, LOG.public_bytes).encode()]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        assert ready["ready"] is True
        self.url = f"http://127.0.0.1:{ready['port']}"
        self.vkey: str = ready["vkey"]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    running = WitnessProcess(tmp_path)
    yield running
    running.end()


@pytest.fixture
def client(witness: WitnessProcess) -> Iterator[WitnessClient]:
    with WitnessClient(witness.url, witness.vkey) as client:
        yield client


def post(witness: WitnessProcess, body: str | bytes) -> httpx.Response:
    return httpx.post(f"{witness.url}/add-checkpoint", content=body, timeout=10, trust_env=False)


def request(old_size: int, hashes: Sequence[bytes], signed: str) -> str:
    lines = [f"old {old_size}", *(base64.b64encode(value).decode() for value in hashes)]
    return "\n".join(lines) + "\n\n" + signed


def test_a_growing_log_is_cosigned_and_the_line_verifies(witness: WitnessProcess, client: WitnessClient) -> None:
    old_size = 0
    for size in (1, 1, 7, 11, 21, 64):
        line = client.cosign(old_size, proof(old_size, size), note(size))
        timestamp = verify_line(head(size), SignatureLine.parse(line), VerifierKey.parse(witness.vkey))
        assert timestamp is not None
        assert timestamp > 1_700_000_000
        SignedCheckpoint.parse(note(size)).with_line(line)
        old_size = size


def test_an_empty_log_is_cosigned(client: WitnessClient) -> None:
    assert client.cosign(0, [], sign_checkpoint(Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT), key=LOG))
    assert client.cosign(0, [], note(3))


def test_a_stale_size_is_told_the_latest_one(witness: WitnessProcess, client: WitnessClient) -> None:
    client.cosign(0, [], note(7))
    with pytest.raises(WitnessBehind) as behind:
        client.cosign(3, proof(3, 11), note(11))
    assert behind.value.size == 7
    answer = post(witness, request(0, [], note(11)))
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (409, "7\n", "text/x.tlog.size")
    assert client.cosign(7, proof(7, 11), note(11))


def test_two_histories_of_one_size_are_refused(witness: WitnessProcess, client: WitnessClient) -> None:
    client.cosign(0, [], note(7))
    split = sign_checkpoint(Checkpoint(origin=ORIGIN, size=7, root=bytes(32)), key=LOG)
    assert post(witness, request(7, [], split)).status_code == 409
    with pytest.raises(AnchorRefused, match="another root"):
        client.cosign(7, [], split)


def test_a_rewritten_history_is_refused(witness: WitnessProcess, client: WitnessClient) -> None:
    client.cosign(0, [], note(7))
    rewritten = sign_checkpoint(Checkpoint(origin=ORIGIN, size=11, root=bytes(32)), key=LOG)
    assert post(witness, request(7, proof(7, 11), rewritten)).status_code == 422
    assert post(witness, request(7, proof(7, 11)[:-1], note(11))).status_code == 422
    assert post(witness, request(7, [], note(11))).status_code == 422
    with pytest.raises(AnchorRefused):
        client.cosign(7, proof(7, 11)[::-1], note(11))
    assert client.cosign(7, proof(7, 11), note(11))  # refusals left no mark


def test_strangers_and_other_logs_are_refused(witness: WitnessProcess, client: WitnessClient) -> None:
    assert post(witness, request(0, [], note(7, STRANGER))).status_code == 403
    forged = note(7).replace(note(7)[-60:-4], note(8)[-60:-4])
    assert post(witness, request(0, [], forged)).status_code == 403
    foreign = sign_checkpoint(Checkpoint(origin="other.example", size=7, root=head(7).root), key=LOG)
    assert post(witness, request(0, [], foreign)).status_code == 404
    with pytest.raises(AnchorRefused, match="403"):
        client.cosign(0, [], note(7, STRANGER))


def test_further_signatures_do_not_disturb_a_good_one(witness: WitnessProcess) -> None:
    extra = cosign(head(7), name="other.example/w", key=STRANGER, timestamp=1).render()
    assert post(witness, request(0, [], note(7) + extra)).status_code == 200


def test_a_malformed_request_is_refused(witness: WitnessProcess) -> None:
    bodies: list[str | bytes] = [
        "",
        "old 0",
        "old 0\n\n",
        request(0, [], note(7))[:-1],
        "old 00\n\n" + note(7),
        "old -1\n\n" + note(7),
        "new 0\n\n" + note(7),
        request(0, [bytes(31)], note(7)),
        "old 0\nnot base64!\n\n" + note(7),
        request(0, [bytes(32)] * 64, note(7)),
        request(8, [], note(7)),
        b"\xff\xfe",
    ]
    assert [post(witness, body).status_code for body in bodies] == [400] * len(bodies)


def test_an_oversized_request_is_refused_unread(witness: WitnessProcess) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(witness.url).port or 0), timeout=10) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 900000000\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 400 ")


def test_health_and_key_are_public(witness: WitnessProcess) -> None:
    with httpx.Client(base_url=witness.url, trust_env=False, timeout=10) as http:
        assert http.get("/health").json() == {"status": "ok"}
        assert http.get("/vkey").text == witness.vkey + "\n"
        assert http.get("/other").status_code == 404
        assert http.post("/other", content=b"x").status_code == 404
        assert http.delete("/vkey").headers["Content-Type"].startswith("text/plain")


def test_a_killed_witness_remembers_what_it_cosigned(tmp_path: Path) -> None:
    first = WitnessProcess(tmp_path)
    try:
        with WitnessClient(first.url, first.vkey) as client:
            client.cosign(0, [], note(11))
    finally:
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = WitnessProcess(tmp_path)
    try:
        assert second.vkey == first.vkey
        with WitnessClient(second.url, second.vkey) as client:
            with pytest.raises(WitnessBehind) as behind:
                client.cosign(0, [], note(7))
            assert behind.value.size == 11
            assert client.cosign(11, [], note(11))  # the answer lost with the process can be asked for again
    finally:
        assert second.end() == 0


def test_a_witness_killed_under_load_never_forgets_an_answer_it_gave(tmp_path: Path) -> None:
    answered, cut_short = 0, 0
    for _ in range(3):
        running = WitnessProcess(tmp_path)
        killer = threading.Timer(0.15, running.process.kill)
        try:
            with WitnessClient(running.url, running.vkey) as client:
                recorded = recorded_size(client)
                assert recorded in (answered, answered + 1)  # one more: it committed and died before it could answer
                answered = recorded
                killer.start()
                while answered < LEAVES:
                    client.cosign(answered, proof(answered, answered + 1), note(answered + 1))
                    answered += 1
        except AnchorUnavailable:
            cut_short += 1
        finally:
            if killer.is_alive():
                killer.join()
            running.end(signal.SIGKILL)
    assert cut_short
    assert answered


def recorded_size(client: WitnessClient) -> int:
    """What the witness last cosigned: it tells everyone who asks from a size it never heard of."""
    try:
        client.cosign(LEAVES - 1, proof(LEAVES - 1, LEAVES), note(LEAVES))
    except WitnessBehind as behind:
        return behind.size
    return LEAVES


def test_of_two_racing_forks_one_alone_is_cosigned(witness: WitnessProcess) -> None:
    forks = [sign_checkpoint(Checkpoint(origin=ORIGIN, size=7, root=bytes([n]) * 32), key=LOG) for n in range(8)]
    with ThreadPoolExecutor(len(forks)) as pool:
        codes = list(pool.map(lambda fork: post(witness, request(0, [], fork)).status_code, forks))
    assert sorted(codes) == [200] + [409] * 7


def test_the_key_file_is_its_owners_alone(witness: WitnessProcess, tmp_path: Path) -> None:
    assert (tmp_path / "witness.key").stat().st_mode & 0o777 == 0o600
    assert witness.end() == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("witness.key")] == ["witness.key"]


def test_a_witness_without_a_usable_log_key_does_not_start(tmp_path: Path) -> None:
    for key in ("nonsense", witness_key("w", STRANGER.public_bytes).encode()):
        command = [sys.executable, "-m", "devstack.witness", "--home", str(tmp_path), "--log-origin", ORIGIN]
        ended = subprocess.run([*command, "--log-key", key], cwd=REPOSITORY, capture_output=True, text=True, timeout=20)
        assert ended.returncode == 1
        assert ended.stderr.startswith("the witness cannot start: ")
        assert "Traceback" not in ended.stderr


class Impostor(BaseHTTPRequestHandler):
    """An HTTP server that answers whatever the test asks for."""

    answer: tuple[int, str, str] = (200, "text/plain", "")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, content_type, text = self.answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def impostor() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Impostor) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


PINNED = witness_key("w", SigningKey.from_seed(b"\x09" * 32).public_bytes)
BY_STRANGER = cosign(head(7), name="w", key=STRANGER, timestamp=1)
BORROWED = SignatureLine(name="w", key_id=PINNED.key_id, blob=BY_STRANGER.blob)
OTHER_SIZE = cosign(head(8), name="w", key=SigningKey.from_seed(b"\x09" * 32), timestamp=1)


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/plain", ""),
        (200, "text/plain", "ok\n"),
        (200, "text/plain", BY_STRANGER.render()),
        (200, "text/plain", BORROWED.render()),
        (200, "text/plain", OTHER_SIZE.render()),
        (200, "text/plain", "x" * 70_000),
        (409, "text/x.tlog.size", "seven\n"),
    ],
    ids=["empty", "prose", "stranger", "borrowed", "other-size", "long", "no-number"],
)
def test_an_answer_that_proves_nothing_is_refused(impostor: str, answer: tuple[int, str, str]) -> None:
    Impostor.answer = answer
    with WitnessClient(impostor, PINNED.encode()) as client, pytest.raises(AnchorRefused):
        client.cosign(0, [], note(7))


@pytest.mark.parametrize("status", [302, 404, 409, 429, 503])
def test_an_answer_that_is_not_the_witness_speaking_is_asked_for_again(impostor: str, status: int) -> None:
    Impostor.answer = (status, "text/plain", "7\n")
    with WitnessClient(impostor, PINNED.encode()) as client, pytest.raises(AnchorUnavailable):
        client.cosign(0, [], note(7))


def test_lines_by_unknown_keys_are_ignored_beside_the_pinned_one(impostor: str) -> None:
    own = cosign(head(7), name="w", key=SigningKey.from_seed(b"\x09" * 32), timestamp=1).render()
    Impostor.answer = (200, "text/plain", BY_STRANGER.render() + own)
    with WitnessClient(impostor, PINNED.encode()) as client:
        assert client.cosign(0, [], note(7)) == own


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_witness_in_trouble_is_asked_again_later(impostor: str, status: int) -> None:
    Impostor.answer = (status, "text/plain", "")
    with WitnessClient(impostor, PINNED.encode()) as client, pytest.raises(AnchorUnavailable):
        client.cosign(0, [], note(7))


def test_a_witness_that_does_not_answer_is_unavailable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with WitnessClient(url, PINNED.encode(), timeout_s=0.2) as client, pytest.raises(AnchorUnavailable):
            client.cosign(0, [], note(7))
    with WitnessClient(url, PINNED.encode(), timeout_s=0.2) as client, pytest.raises(AnchorUnavailable):
        client.cosign(0, [], note(7))


def test_only_a_witness_key_can_be_pinned() -> None:
    with pytest.raises(MalformedNote):
        WitnessClient("http://127.0.0.1:1", log_key(ORIGIN, LOG.public_bytes).encode())


def test_the_environments_proxy_is_not_used(witness: WitnessProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert os.environ["HTTP_PROXY"]
    with WitnessClient(witness.url, witness.vkey) as client:
        assert client.cosign(0, [], note(7))
