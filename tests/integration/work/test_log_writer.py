"""The log on a real PostgreSQL: one writer, exact epochs, and proofs that stand without it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from shared.db.service import Database
from shared.kernel.errors import NotFound
from shared.merkle.checkpoint import SignedCheckpoint, verify_line
from shared.merkle.hashing import leaf_hash, node_hash
from shared.merkle.notes import VerifierKey
from shared.merkle.tree import append, consistency_proof, root_of
from shared.merkle.verify import verify_consistency, verify_inclusion
from shared.receipts import store
from shared.receipts.log import EpochRules, LogSigner, node_reader
from shared.receipts.model import EpochState, LogHead, Proof
from shared.receipts.verify import render_bundle, verify_bundle
from tests.e2e.patience import at_once
from tests.integration.work.notary import ORIGIN, Notary


def head(database: Database, size: int) -> LogHead:
    with database.transaction() as tx:
        found = store.checkpoint(tx, size)
    assert found is not None, f"no checkpoint of size {size}"
    return found


def require_signed(signer: LogSigner, signed: LogHead) -> None:
    """The note is by every key of the log, over this origin, size and root."""
    parsed = SignedCheckpoint.parse(signed.note)
    assert (parsed.checkpoint.origin, parsed.checkpoint.size, parsed.checkpoint.root) == (
        ORIGIN,
        signed.size,
        signed.root,
    )
    for vkey in (VerifierKey.parse(text) for text in signer.vkeys()):
        (line,) = [line for line in parsed.signatures if line.is_by(vkey)]
        verify_line(parsed.checkpoint, line, vkey)


def leaves(database: Database) -> list[bytes]:
    with database.transaction() as tx:
        return [leaf_hash(digest) for digest in store.hashes(tx, range(store.log_size(tx)))]


def rebuilt_root(database: Database, size: int) -> bytes:
    return root_of(append(0, (), leaves(database)[:size]).peaks)


def test_an_epoch_closes_at_exactly_its_size_inside_a_larger_batch(database: Database, notary: Notary) -> None:
    notary.issue(25)
    assert notary.log().integrate() == 25
    rules = EpochRules(max_receipts=10, max_age_s=3600, targets=())
    closed = notary.close_epochs(rules)
    assert [epoch.number for epoch in closed] == [1, 2]
    with database.transaction() as tx:
        rows = tx.all("SELECT state, start_size, end_size FROM epochs ORDER BY number")
    assert [(row["state"], row["start_size"], row["end_size"]) for row in rows] == [
        (EpochState.CLOSED, 0, 10),
        (EpochState.CLOSED, 10, 20),
        (EpochState.OPEN, 20, None),
    ]
    for size in (10, 20, 25):
        signed = head(database, size)
        require_signed(notary.signer, signed)
        assert signed.root == rebuilt_root(database, size)
    assert notary.close_epochs(rules) == []


def test_the_sizes_that_were_signed_are_prefixes_of_one_another(database: Database, notary: Notary) -> None:
    notary.issue(25)
    notary.log().integrate()
    notary.close_epochs(EpochRules(max_receipts=10, max_age_s=3600, targets=()))
    sizes = (0, 10, 20, 25)
    for old_size, new_size in [(old, new) for old in sizes for new in sizes if old <= new]:
        with database.transaction() as tx:
            proof = consistency_proof(old_size, new_size, node_reader(tx))
        verify_consistency(
            old_size=old_size,
            new_size=new_size,
            old_root=head(database, old_size).root,
            new_root=head(database, new_size).root,
            proof=proof,
        )


def test_an_old_epoch_closes_unless_it_is_empty(database: Database, notary: Notary) -> None:
    at_any_age = EpochRules(max_receipts=10, max_age_s=0, targets=())
    assert notary.close_epochs(at_any_age) == []
    notary.issue(3)
    notary.log().integrate()
    assert notary.close_epochs(EpochRules(max_receipts=10, max_age_s=3600, targets=())) == []
    assert [epoch.number for epoch in notary.close_epochs(at_any_age)] == [1]
    assert notary.close_epochs(at_any_age) == []
    require_signed(notary.signer, head(database, 3))


def test_two_schedulers_at_once_close_an_epoch_once(database: Database, notary: Notary) -> None:
    notary.issue(30)
    notary.log().integrate()
    rules = EpochRules(max_receipts=10, max_age_s=3600, targets=("witness",))
    closed = at_once(*(lambda: len(notary.close_epochs(rules)) for _ in range(3)))
    assert sum(closed) == 3
    with database.transaction() as tx:
        assert tx.one("SELECT count(*) AS anchors FROM anchors") == {"anchors": 3}
        assert tx.one("SELECT count(*) AS steps FROM steps WHERE owner_kind = 'anchor'") == {"steps": 3}


def test_a_closed_epoch_never_changes(database: Database, notary: Notary) -> None:
    notary.issue(10)
    notary.log().integrate()
    notary.close_epochs(EpochRules(max_receipts=10, max_age_s=3600, targets=()))
    with pytest.raises(psycopg.errors.RestrictViolation, match="is closed"):
        with database.transaction() as tx:
            tx.run("UPDATE epochs SET end_size = 9 WHERE number = 1")


def test_sequencers_at_once_integrate_each_receipt_once(database: Database, notary: Notary) -> None:
    for count in (120, 1, 79):
        notary.issue(count)
        log = notary.log()
        integrated = sum(at_once(*(log.integrate for _ in range(4))))
        assert integrated == count
    with database.transaction() as tx:
        indexes = [row["leaf_index"] for row in tx.all("SELECT leaf_index FROM receipts ORDER BY id")]
        assert sorted(indexes) == list(range(200))
        assert store.log_size(tx) == 200


def test_a_receipt_waits_for_the_sequencer_and_has_no_proof_until_then(notary: Notary) -> None:
    (receipt_id,) = notary.issue(1)
    assert notary.reading.receipt(receipt_id).leaf_index is None
    for ask in (notary.reading.proof, notary.reading.bundle):
        with pytest.raises(NotFound):
            ask(receipt_id)
    verdict = notary.reading.verification(notary.reading.receipt(receipt_id))
    assert (verdict.hash_valid, verdict.signature_valid, verdict.inclusion_valid) == (True, True, None)


def test_the_log_that_is_rebuilt_from_the_receipts_is_the_log(database: Database, notary: Notary) -> None:
    for count in (1, 2, 4, 30, 33):
        notary.issue(count)
        notary.log().integrate()
    rebuilt = append(0, (), leaves(database))
    with database.transaction() as tx:
        size, peaks = store.lock_log(tx)
        nodes = [(row["pos"], row["hash"]) for row in tx.all("SELECT pos, hash FROM log_nodes ORDER BY pos")]
    assert (size, tuple(peaks)) == (rebuilt.size, rebuilt.peaks)
    assert nodes == rebuilt.nodes
    assert notary.reading.head().root == root_of(rebuilt.peaks)


def climb(leaf: bytes, siblings: Sequence[bytes], directions: Sequence[str]) -> bytes:
    """Fold a path by its directions alone, as a reader of the published document would."""
    node = leaf
    for sibling, direction in zip(siblings, directions, strict=True):
        node = node_hash(node, sibling) if direction == "R" else node_hash(sibling, node)
    return node


def require_valid(proof: Proof) -> None:
    leaf = leaf_hash(proof.receipt.receipt_hash)
    assert set(proof.directions) <= {"L", "R"}
    assert climb(leaf, proof.path, proof.directions) == proof.head.root
    verify_inclusion(leaf=leaf, index=proof.leaf_index, size=proof.head.size, proof=proof.path, root=proof.head.root)


def test_every_proof_and_its_directions_lead_to_the_root_at_every_size(notary: Notary) -> None:
    issued: list[str] = []
    for size in (1, 2, 3, 5, 6, 7, 8, 13, 31, 33, 64, 70):
        issued += notary.issue(size - len(issued))
        notary.log().integrate()
        for index, receipt_id in enumerate(issued):
            proof = notary.reading.proof(receipt_id)
            assert (proof.leaf_index, proof.head.size) == (index, size)
            require_valid(proof)


def test_each_of_seventy_receipts_verifies_here_and_offline(notary: Notary) -> None:
    issued = notary.issue(70)
    notary.log().integrate()
    trust = render_bundle(notary.reading.trust())
    for receipt_id in issued:
        verdict = notary.reading.verification(notary.reading.receipt(receipt_id))
        assert (verdict.hash_valid, verdict.signature_valid, verdict.inclusion_valid) == (True, True, True)
    for receipt_id in issued[::10]:
        report = verify_bundle(notary.reading.bundle(receipt_id), trust)
        assert report.exit_code == 0, report.lines


def test_the_receipts_of_a_tenant_are_numbered_without_gaps(database: Database, notary: Notary) -> None:
    notary.issue(35)
    with database.transaction() as tx:
        rows = tx.all(
            "SELECT tenant, array_agg(tenant_seq ORDER BY tenant_seq) AS numbers FROM receipts GROUP BY tenant"
        )
    assert len(rows) == 7
    assert all(row["numbers"] == [1, 2, 3, 4, 5] for row in rows)
