"""A C2SP witness as a process of its own: it cosigns a log's checkpoint only when the log has merely grown.

    python -m devstack.witness --home DIR --port P --log-origin ORIGIN --log-key VKEY

Protocol: c2sp.org/tlog-witness. The witness holds its own key and its own state, so the log cannot show it two histories.
Run by the log's operator it is still the operator's own trust domain; run by anybody else it is a witness in full.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shared.kernel.signing import SEED_BYTES, SigningKey
from shared.merkle.checkpoint import BadSignature, Checkpoint, SignedCheckpoint, cosign, verify_line, witness_key
from shared.merkle.hashing import EMPTY_ROOT, HASH_BYTES
from shared.merkle.notes import Algorithm, MalformedNote, SignatureLine, VerifierKey, decode_base64
from shared.merkle.verify import InvalidProof, verify_consistency

MAX_BODY_BYTES = 256 * 1024
MAX_PROOF_LINES = 63
REQUEST_TIMEOUT_S = 10
DEFAULT_NAME = "localhost/lucid-witness"
SIZE_TYPE = "text/x.tlog.size"
TEXT_TYPE = "text/plain; charset=utf-8"
_OLD_LINE = re.compile(r"old (0|[1-9][0-9]{0,18})")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    note TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: str
    content_type: str = TEXT_TYPE


@dataclass(frozen=True)
class Submission:
    """A parsed add-checkpoint request."""

    old_size: int
    proof: tuple[bytes, ...]
    signed: SignedCheckpoint

    @classmethod
    def parse(cls, body: bytes) -> Submission:
        """Read the request body: old size, proof lines, an empty line, the note. Raises `MalformedNote`."""
        try:
            head, gap, note = body.decode().partition("\n\n")
        except UnicodeDecodeError:
            raise MalformedNote("the request is not UTF-8") from None
        old_line, *proof_lines = head.split("\n")
        old = _OLD_LINE.fullmatch(old_line)
        if not gap or old is None or len(proof_lines) > MAX_PROOF_LINES:
            raise MalformedNote("the request is no old size, proof lines, empty line and checkpoint")
        proof = tuple(decode_base64(line) for line in proof_lines)
        if any(len(value) != HASH_BYTES for value in proof):
            raise MalformedNote("a proof line is not a 32-byte hash")
        return cls(old_size=int(old.group(1)), proof=proof, signed=SignedCheckpoint.parse(note))


class WitnessState:
    """The latest checkpoint cosigned for each origin, in SQLite; safe against threads, processes and kill -9."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with contextlib.closing(self._open()) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(_SCHEMA)

    def advance(self, submission: Submission) -> Answer | None:
        """Check the submission against the record and replace the record, in one transaction.

        Returns the refusal, or None when the new checkpoint is on disk and may be cosigned.
        """
        with contextlib.closing(self._open()) as database:
            database.execute("BEGIN IMMEDIATE")  # takes the write lock first: no check-then-act between two requests
            try:
                refusal = self._judge(database, submission)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("ROLLBACK" if refusal else "COMMIT")
        return refusal

    @staticmethod
    def _judge(database: sqlite3.Connection, submission: Submission) -> Answer | None:
        new = submission.signed.checkpoint
        row = database.execute("SELECT size, root FROM logs WHERE origin = ?", (new.origin,)).fetchone()
        size, root = row or (0, EMPTY_ROOT)
        same_size_other_root = submission.old_size == new.size and root != new.root
        if submission.old_size != size or same_size_other_root:
            return Answer(409, f"{size}\n", SIZE_TYPE)
        try:
            verify_consistency(
                old_size=size, new_size=new.size, old_root=root, new_root=new.root, proof=submission.proof
            )
        except InvalidProof as fault:
            return Answer(422, f"{fault.message}\n")
        database.execute(
            "INSERT INTO logs (origin, size, root, note) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
            (new.origin, new.size, new.root, submission.signed.render()),
        )
        return None

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=REQUEST_TIMEOUT_S, isolation_level=None)
        database.execute("PRAGMA synchronous = FULL")
        return database


class Witness:
    """The rules of add-checkpoint: which answer each submission earns."""

    def __init__(
        self, *, name: str, key: SigningKey, origin: str, log_keys: Sequence[VerifierKey], state: WitnessState
    ) -> None:
        self.vkey = witness_key(name, key.public_bytes)
        self._key = key
        self._origin = origin
        self._log_keys = log_keys
        self._state = state

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request body; the record is on disk before the cosignature exists."""
        try:
            submission = Submission.parse(body)
        except MalformedNote as fault:
            return Answer(400, f"{fault.message}\n")
        checkpoint = submission.signed.checkpoint
        if checkpoint.origin != self._origin:
            return Answer(404, "unknown log origin\n")
        if not self._is_signed(submission.signed):
            return Answer(403, "no valid signature by a key of this log\n")
        if submission.old_size > checkpoint.size:
            return Answer(400, "the old size exceeds the checkpoint's\n")
        refusal = self._state.advance(submission)
        return refusal or Answer(200, self._cosign(checkpoint))

    def _is_signed(self, signed: SignedCheckpoint) -> bool:
        for key in self._log_keys:
            for line in signed.signatures:
                if line.is_by(key) and _holds(signed.checkpoint, line, key):
                    return True
        return False

    def _cosign(self, checkpoint: Checkpoint) -> str:
        line = cosign(checkpoint, name=self.vkey.name, key=self._key, timestamp=int(time.time()))
        return line.render()


class WitnessServer(ThreadingHTTPServer):
    """The witness on a socket."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        self.witness = witness
        super().__init__(address, WitnessHandler)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base class's names
        """Say in one line what broke; a client that went away is no news."""
        fault = sys.exc_info()[1]
        if not isinstance(fault, ConnectionError | TimeoutError):
            print(json.dumps({"error": type(fault).__name__}), file=sys.stderr, flush=True)


class WitnessHandler(BaseHTTPRequestHandler):
    """HTTP for one connection."""

    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = TEXT_TYPE
    server: WitnessServer

    def do_GET(self) -> None:
        """Serve /health and /vkey."""
        if self.path == "/health":
            self._send(Answer(200, '{"status": "ok"}\n', "application/json"))
        elif self.path == "/vkey":
            self._send(Answer(200, self.server.witness.vkey.encode() + "\n"))
        else:
            self._send(Answer(404, "not found\n"))

    def do_POST(self) -> None:
        """Serve /add-checkpoint."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self.close_connection = True  # the body stays unread, so the connection cannot be used again
            self._send(Answer(400, "a Content-Length of at most 256 KiB is needed\n"))
            return
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            self.close_connection = True
            return
        known = self.path == "/add-checkpoint"
        self._send(self.server.witness.add_checkpoint(body) if known else Answer(404, "not found\n"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep quiet: requests are not logged."""

    def _send(self, answer: Answer) -> None:
        payload = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(payload)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(payload)


def load_key(home: Path) -> SigningKey:
    """Return the witness's key from `home`, made at the first start; the file is readable by its owner alone."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "witness.key"
    if not path.exists():
        _write_key(path)
    return SigningKey.from_seed(bytes.fromhex(path.read_text().strip()))


def _write_key(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_bytes(SEED_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(draft, path)  # unlike a rename, a link never replaces a key
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _holds(checkpoint: Checkpoint, line: SignatureLine, key: VerifierKey) -> bool:
    try:
        verify_line(checkpoint, line, key)
    except BadSignature:
        return False
    return True


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack.witness", description="A C2SP transparency log witness.")
    parser.add_argument("--home", type=Path, required=True, help="folder for the key and the state")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--name", default=DEFAULT_NAME, help="the witness's key name")
    parser.add_argument("--log-origin", required=True)
    parser.add_argument("--log-key", required=True, action="append", help="the log's verifier key; may be repeated")
    return parser.parse_args(argv)


def _log_keys(encoded: Sequence[str]) -> list[VerifierKey]:
    keys = [VerifierKey.parse(text) for text in encoded]
    if any(key.algorithm is Algorithm.COSIGNATURE_V1 for key in keys):
        raise MalformedNote("a witness's key cannot sign for a log")
    return keys


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; print one JSON line once the socket listens."""
    arguments = _arguments(argv)
    try:
        log_keys = _log_keys(arguments.log_key)
        key = load_key(arguments.home)
        witness = Witness(
            name=arguments.name,
            key=key,
            origin=arguments.log_origin,
            log_keys=log_keys,
            state=WitnessState(arguments.home / "witness.sqlite3"),
        )
        server = WitnessServer((arguments.host, arguments.port), witness)
    except (OSError, ValueError, MalformedNote) as fault:
        print(f"the witness cannot start: {fault}", file=sys.stderr)
        return 1
    with server:
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for the serving loop, so it must not run in the thread that serves
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        print(json.dumps({"ready": True, "port": server.server_port, "vkey": witness.vkey.encode()}), flush=True)
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
