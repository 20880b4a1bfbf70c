"""Log appends: receipts issued and integrated, with everything on, in a database of their own on the stack's server.

Everything: canonical JSON, Ed25519 over every receipt, commitments with stored salts, the doorbell in the outbox, unique keys and
checks, tree nodes, a checkpoint a batch signed with Ed25519 and, where the library has it, ML-DSA-44, and a durable commit.
"""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import DictRow
from pymerkle import SqliteTree

from benchmarks.effort import Effort
from benchmarks.figures import Comparison, Figure, Section, latency, rate
from benchmarks.ground import Ground
from shared.db.migrations import migrate
from shared.db.service import Database
from shared.kernel.owner import Owner
from shared.kernel.signing import SigningKey
from shared.merkle.checkpoint import mldsa_available
from shared.receipts.log import EpochRules, Log, LogSigner
from shared.receipts.model import Draft, Paid, Ran, ReceiptKind
from shared.receipts.service import Receipts
from shared.work.service import Work, WorkLimits

_BODY_BYTES = 900
_NO_EPOCHS = EpochRules(max_receipts=10**9, max_age_s=1e9, targets=())
_RAN = Ran("sim-small", "sim-small", "http://model.example/v1", 100, 100, 10, 20)
_PAID = Paid(received_msat=10_000, charged_msat=9_000, owed_back_msat=1_000, payment_hash=b"\x00" * 32)


@dataclass(frozen=True)
class Appended:
    """One batch size: seconds spent issuing and integrating, in all and a batch, and each receipt's own wait for its proof."""

    size: int
    issuing_s: list[float]
    integrating_s: list[float]
    acknowledged_s: list[float]

    @property
    def count(self) -> int:
        """How many receipts."""
        return self.size * len(self.issuing_s)

    @property
    def elapsed_s(self) -> float:
        """From nothing to durable in the log."""
        return sum(self.issuing_s) + sum(self.integrating_s)


@dataclass(frozen=True)
class Compared:
    """Ours and the peers' seconds for as many rows of about a receipt's size."""

    ours: Appended
    bare_s: float
    pymerkle_s: float

    def figures(self) -> list[Figure]:
        """Return the absolute values."""
        ours, batch = self.ours, f"batch {self.ours.size:,}"
        return [
            rate(f"{batch}: issued, signed and integrated", ours.count, ours.elapsed_s),
            rate(f"{batch}: integrated (receipts signed and waiting)", ours.count, sum(ours.integrating_s)),
            latency(f"{batch}: receipt's issuing begins → durable in the log", ours.acknowledged_s),
            latency(f"{batch}: integration begins → durable in the log", ours.integrating_s),
            rate(f"{batch}: bare rows", ours.count, self.bare_s),
            rate(f"{batch}: pymerkle's bare leaves in SQLite", ours.count, self.pymerkle_s),
        ]

    def ratios(self) -> list[Comparison]:
        """Return the ratios of rates, ours above theirs."""
        ours, batch = self.ours, f"batch {self.ours.size:,}"
        return [
            Comparison(f"{batch}: issued and integrated / bare rows", self.bare_s / ours.elapsed_s),
            Comparison(f"{batch}: integrated / bare rows", self.bare_s / sum(ours.integrating_s)),
            Comparison(f"{batch}: integrated / pymerkle", self.pymerkle_s / sum(ours.integrating_s)),
        ]


class Notary:
    """The proof side of the product on one database."""

    def __init__(self, ground: Ground, database: Database) -> None:
        container = ground.container
        settings, ids = container.settings, container.ids
        work = Work(database, WorkLimits(60.0, 30.0, 3), nudge=lambda: None)
        self._clock = ground.clock
        self._database = database
        self._receipts = Receipts(
            signer=SigningKey.from_seed(settings.receipt_signing_key),
            secret_key=settings.secret_key,
            ids=ids,
            clock=ground.clock,
            work=work,
        )
        signer = LogSigner(settings.log_origin, settings.log_signing_key)
        self._log = Log(database, signer=signer, rules=_NO_EPOCHS, ids=ids, work=work)
        self._owners = itertools.count(1)

    def append(self, size: int, batches: int) -> Appended:
        """Issue `size` receipts in one transaction, have them integrated in one batch; `batches` times."""
        done = Appended(size, [], [], [])
        for _ in range(batches):
            began, issued = self._clock.monotonic(), []
            with self._database.transaction() as tx:
                for _ in range(size):
                    issued.append(self._clock.monotonic())
                    self._receipts.issue(tx, self._draft())
            waiting = self._clock.monotonic()
            if self._log.integrate() != size:
                raise RuntimeError("the log did not integrate what was issued")
            ended = self._clock.monotonic()
            done.issuing_s.append(waiting - began)
            done.integrating_s.append(ended - waiting)
            done.acknowledged_s.extend(ended - moment for moment in issued)
        return done

    def _draft(self) -> Draft:
        number = next(self._owners)
        owner = Owner("job", number)
        return Draft(
            ReceiptKind.JOB,
            owner,
            f"job {number}",
            "stop",
            paid=_PAID,
            ran=_RAN,
            input=b"Say something short.",
            output=b"Something short.",
        )


def measure(ground: Ground, effort: Effort) -> Section:
    """Append at each batch size, ours and the peers by turns."""
    url = _new_database(ground)
    database = Database(url, pool_size=2, application_name="bench-log")
    notary = Notary(ground, database)
    notary.append(10, 3)
    runs = []
    with ground.connect(url) as rows:
        rows.execute("CREATE TABLE bare_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)")
        for size, batches in effort.append_batches.items():
            ours = notary.append(size, batches)
            leaves = [[secrets.token_bytes(_BODY_BYTES) for _ in range(size)] for _ in range(batches)]
            peer_s = _pymerkle(ground, ground.folder / f"peer-{size}.sqlite", leaves)
            runs.append(Compared(ours, bare_s=_bare_rows(ground, rows, leaves), pymerkle_s=peer_s))
    database.close()
    return _section(runs)


def _section(runs: list[Compared]) -> Section:
    return Section(
        "Log appends, integrated, with everything on",
        [line for run in runs for line in run.figures()],
        [ratio for run in runs for ratio in run.ratios()],
        [line for run in runs for line in _breakdown(run.ours)],
        [
            (
                f"Checkpoints: Ed25519{' and ML-DSA-44' if mldsa_available() else ' alone (no ML-DSA here)'}."
                " One thread. A batch of receipts is issued in one transaction; the product issues each in its job's own."
            ),
            f"Bare rows: {_BODY_BYTES} bytes each in a table with one key, pipelined, a commit a batch, the same database.",
            "pymerkle, by another author, keeps leaf and hash in SQLite: no receipt, no signature, no checkpoint.",
        ],
    )


def _new_database(ground: Ground) -> str:
    """Make and migrate a database that no worker of the stack looks into; return its URL."""
    name = f"bench_log_{secrets.token_hex(4)}"
    with ground.connect() as rows:
        rows.execute(f"CREATE DATABASE {name}".encode())
    url = f"{ground.stack.endpoints['database_url'].rpartition('/')[0]}/{name}"
    migrate(url)
    return url


def _pymerkle(ground: Ground, path: Path, batches: list[list[bytes]]) -> float:
    """Append the leaves to pymerkle's tree; return how long it took in seconds."""
    tree = SqliteTree(str(path))
    began = ground.clock.monotonic()
    for batch in batches:
        tree.append_entries(batch)
    elapsed_s = ground.clock.monotonic() - began
    tree.close()
    return elapsed_s


def _bare_rows(ground: Ground, rows: psycopg.Connection[DictRow], batches: list[list[bytes]]) -> float:
    """Insert the leaves as rows and nothing else; return how long it took in seconds."""
    began = ground.clock.monotonic()
    for batch in batches:
        with rows.transaction(), rows.cursor() as cursor:
            cursor.executemany("INSERT INTO bare_rows (body) VALUES (%s)", [(leaf,) for leaf in batch])
    return ground.clock.monotonic() - began


def _breakdown(run: Appended) -> list[Figure]:
    def each(seconds: list[float]) -> dict[str, float]:
        return {"us_a_receipt": sum(seconds) / run.count * 1e6}

    return [
        Figure(f"batch {run.size:,}: issuing (sign, insert, commit)", each(run.issuing_s), run.count),
        Figure(f"batch {run.size:,}: integrating (tree, checkpoint, commit)", each(run.integrating_s), run.count),
    ]
