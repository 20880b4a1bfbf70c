"""Receipts, proofs, log and epochs as a stranger fetches and checks them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from shared.bootstrap import Container
from shared.kernel import signing
from shared.kernel.canonical_json import canonical_bytes
from shared.kernel.owner import Owner
from shared.merkle.checkpoint import SignedCheckpoint
from shared.merkle.hashing import leaf_hash
from shared.merkle.verify import verify_inclusion
from shared.receipts.anchoring import Anchoring
from shared.receipts.anchors.witness import WitnessClient
from shared.receipts.model import Draft, Paid, Ran, ReceiptKind
from shared.receipts.verify import verify_bundle
from tests.contract.document_comparison import body_of, json_schema, operations

RAN = Ran("m", "m-1", "http://upstream/v1", 21, 34, 120, 900)
COUNT = 5


def issue(container: Container, number: int, *, ran: Ran | None = RAN) -> str:
    with container.database.transaction() as tx:
        return container.receipts.issue(
            tx,
            Draft(
                kind=ReceiptKind.JOB,
                owner=Owner("contract", number),
                tenant=f"tenant-{number}",
                finish_reason="stop",
                paid=Paid(29_000, 8_000, 21_000, payment_hash=bytes(32)),
                ran=ran,
                input=b"question",
                output=b"answer",
            ),
        )


@pytest.fixture(scope="module")
def receipt_ids(container: Container) -> list[str]:
    """Receipts in the log; the last one in an open epoch, the others in one that the witness has cosigned."""
    ids = [issue(container, number, ran=RAN if number else None) for number in range(COUNT)]
    container.log.integrate()
    with container.database.transaction() as tx:
        container.log.close_epochs(tx, by_hand=True)
        anchors = [row["id"] for row in tx.all("SELECT id FROM anchors WHERE state = 'intended'")]
    with WitnessClient(container.settings.witness_url, container.settings.witness_key) as witness:
        for anchor_id in anchors:
            Anchoring(container.database, witness=witness, work=container.work, events=container.events).submit(
                anchor_id
            )
    ids.append(issue(container, COUNT))
    container.log.integrate()
    return ids


@pytest.fixture
def get(client: FlaskClient, gateway_contract: dict[str, Any]) -> Callable[[str, str], Any]:
    """Fetch an address and hold the answer against the contract's schema of that operation."""
    contract = {operation["operationId"]: operation for _, _, operation in operations(gateway_contract)}

    def fetch(name: str, path: str) -> Any:
        answer = client.get(path)
        assert answer.status_code == 200, answer.get_data()
        schema = body_of(contract[name]["responses"]["200"])
        Draft202012Validator(json_schema(schema)).validate(answer.get_json())
        return answer.get_json()

    return fetch


def test_a_receipts_signed_body_hashes_and_verifies(get: Callable[[str, str], Any], receipt_ids: list[str]) -> None:
    for receipt_id in receipt_ids:
        receipt = get("lucid_get_receipt", f"/v1/receipts/{receipt_id}")["receipt"]
        digest = hashlib.sha256(canonical_bytes(receipt["body"])).digest()
        assert receipt["run_id"] == receipt["body"]["receipt_id"] == receipt_id
        assert digest.hex() == receipt["receipt_hash"]
        public = bytes.fromhex(receipt["signer_pubkey"])
        assert signing.verify(public, bytes.fromhex(receipt["receipt_signature"]), digest)


def test_a_receipt_verifies_and_names_its_anchor(get: Callable[[str, str], Any], receipt_ids: list[str]) -> None:
    anchored = get("lucid_verify_receipt", f"/v1/receipts/{receipt_ids[1]}/verify")
    assert (
        anchored["valid"]
        is anchored["hash_valid"]
        is anchored["signature_valid"]
        is anchored["inclusion_valid"]
        is True
    )
    assert anchored["expected_hash"] == anchored["computed_hash"]
    assert anchored["anchored"]["targets"][0]["target"] == "witness"
    assert anchored["anchored"]["targets"][0]["state"] == "final"
    waiting = get("lucid_verify_receipt", f"/v1/receipts/{receipt_ids[-1]}/verify")
    assert waiting["valid"] is True
    assert waiting["anchored"] == "pending"


def test_a_proof_verifies_against_the_signed_checkpoint_it_carries(
    get: Callable[[str, str], Any], receipt_ids: list[str]
) -> None:
    for receipt_id in receipt_ids:
        proof = get("lucid_get_receipt_proof", f"/v1/receipts/{receipt_id}/proof")["proof"]
        checkpoint = SignedCheckpoint.parse(proof["checkpoint"]).checkpoint
        assert (checkpoint.size, checkpoint.root.hex()) == (proof["tree_size"], proof["root"])
        assert proof["leaf"] == proof["receipt_hash"]
        assert leaf_hash(bytes.fromhex(proof["leaf"])).hex() == proof["leaf_hash"]
        path = [bytes.fromhex(sibling) for sibling in proof["proof"]]
        verify_inclusion(
            leaf=bytes.fromhex(proof["leaf_hash"]),
            index=proof["leaf_index"],
            size=proof["tree_size"],
            proof=path,
            root=checkpoint.root,
        )
        assert folded(proof) == proof["root"]


def folded(proof: dict[str, Any]) -> str:
    """Follow the directions alone, as a client of the contract does."""
    node = bytes.fromhex(proof["leaf_hash"])
    for sibling, direction in zip(proof["proof"], proof["directions"], strict=True):
        pair = (bytes.fromhex(sibling), node) if direction == "L" else (node, bytes.fromhex(sibling))
        node = hashlib.sha256(b"\x01" + b"".join(pair)).digest()
    return node.hex()


def test_a_hash_alone_finds_and_verifies_a_receipt(get: Callable[[str, str], Any], receipt_ids: list[str]) -> None:
    known = get("lucid_get_receipt", f"/v1/receipts/{receipt_ids[2]}")["receipt"]["receipt_hash"]
    for written in (known, known.upper()):
        found = get("lucid_verify_receipt_by_hash", f"/v1/verify/{written}")
        assert (found["verified"], found["run_id"], found["receipt_hash"]) == (True, receipt_ids[2], known)
        assert found["on_chain_verified"] is False
        assert found["tx_signature"] is None
        assert "chain_tx" not in found["epoch"]


def test_a_bundle_verifies_offline_with_the_published_trust_file(client: FlaskClient, receipt_ids: list[str]) -> None:
    trust = client.get("/v1/trust").get_data()
    for receipt_id in receipt_ids[:-1]:
        bundle = client.get(f"/v1/receipts/{receipt_id}/bundle")
        assert bundle.mimetype == "application/json"
        report = verify_bundle(bundle.get_data(), trust)
        assert report.exit_code == 0, [line for line in report.lines if line.outcome != "ok"]


def test_a_receipt_without_a_leaf_has_no_proof_yet(client: FlaskClient, container: Container) -> None:
    receipt_id = issue(container, 1000)
    verified = client.get(f"/v1/receipts/{receipt_id}/verify").get_json()
    assert verified["valid"] is True
    assert "inclusion_valid" not in verified
    assert client.get(f"/v1/receipts/{receipt_id}/proof").status_code == 404
    assert client.get(f"/v1/receipts/{receipt_id}/bundle").status_code == 404


def test_the_log_is_open_to_strangers(
    client: FlaskClient, get: Callable[[str, str], Any], receipt_ids: list[str]
) -> None:
    root = get("lucid_get_mmr_root", "/v1/mmr/root")
    note = client.get("/checkpoint")
    assert note.mimetype == "text/plain"
    checkpoint = SignedCheckpoint.parse(note.get_data(as_text=True)).checkpoint
    assert (checkpoint.size, checkpoint.root.hex()) == (root["leaf_count"], root["root"])
    twin = client.get("/checkpoint", headers={"Accept": "application/json"}).get_json()
    assert (twin["size"], twin["note"]) == (checkpoint.size, note.get_data(as_text=True))
    tile = client.get(f"/tile/0/000.p/{checkpoint.size}")
    assert len(tile.get_data()) == 32 * checkpoint.size
    assert "immutable" not in tile.headers["Cache-Control"]
    entries = client.get(f"/tile/entries/000.p/{checkpoint.size}").get_data()
    assert len(entries) == 34 * checkpoint.size


def test_the_signers_key_is_published_with_its_history(get: Callable[[str, str], Any], receipt_ids: list[str]) -> None:
    signer = get("lucid_get_signer_pubkey", "/v1/signer/pubkey")
    assert {"kid", "pubkey", "valid_from_index"} <= set(signer["keys"][0])
    assert signer["pubkey"] in {key["pubkey"] for key in signer["keys"]}


def test_epochs_are_listed_counted_and_shown(get: Callable[[str, str], Any], receipt_ids: list[str]) -> None:
    listed = get("lucid_list_epochs", "/v1/epochs?per_page=1&status=anchored")
    assert listed["pagination"]["per_page"] == len(listed["epochs"]) == 1
    epoch = listed["epochs"][0]
    assert get("lucid_get_epoch", f"/v1/epochs/{epoch['epoch_id']}")["epoch"] == epoch
    assert epoch["leaf_count"] == epoch["end_leaf_index"] - epoch["start_leaf_index"] + 1
    current = get("lucid_get_current_epoch", "/v1/epochs/current")["epoch"]
    assert (current["status"], "end_leaf_index" in current) == ("open", False)
    stats = get("lucid_get_epoch_stats", "/v1/epochs/stats")["stats"]
    assert stats["by_status"]["anchored"] >= 1
    assert stats["last_anchor_time"] >= epoch["created_at"]
    get("lucid_list_epochs_ready", "/v1/epochs/ready")


def test_an_epochs_anchor_is_checked_anew_and_is_no_chain_transaction(
    client: FlaskClient, get: Callable[[str, str], Any], receipt_ids: list[str]
) -> None:
    epoch = get("lucid_list_epochs", "/v1/epochs?status=anchored")["epochs"][0]
    verified = get("lucid_verify_epoch", f"/v1/epochs/{epoch['epoch_id']}/verify")
    assert verified["valid"] is True
    assert verified["expected_root"] == epoch["mmr_root"]
    assert verified["on_chain_root"] is verified["tx_signature"] is verified["error"] is None
    assert client.get(f"/v1/epochs/{epoch['epoch_id']}/transaction").status_code == 404
    unknown = get("lucid_verify_epoch", f"/v1/epochs/epoch_{'0' * 32}/verify")
    assert (unknown["valid"], unknown["error"]) == (False, "epoch not found")
    assert get("lucid_get_anchoring_health", "/v1/anchoring/health")["mock_mode"] is False


def test_health_conforms_and_says_that_the_price_is_fixed(get: Callable[[str, str], Any], client: FlaskClient) -> None:
    health = get("lucid_check_system_health", "/health")
    assert health["dependencies"]["price_feed"]["details"]["fixed"] is True
    assert health["dependencies"]["nango"]["details"]["configured"] is False
    get("lucid_check_liveness", "/health/live")
    get("lucid_check_database_health", "/health/database")
    get("lucid_check_redis_health", "/health/redis")
    get("lucid_check_nango_health", "/health/nango")
    detailed = get("lucid_get_detailed_health", "/health/detailed")
    assert detailed["statistics"]["receipts"] >= 0
    ready = client.get("/health/ready")
    assert ready.status_code == 503  # this stack runs no worker for three of the queues
    assert "nobody consumes" in ready.get_json()["dependencies"]["workers"]["error"]
    assert "postgresql://" not in json.dumps(detailed)
