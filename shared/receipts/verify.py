"""Verify a receipt's bundle offline: no network, no database, no settings. Imports only kernel and merkle.

A bundle, version 1, is the JSON that `render_bundle` writes (? marks what may be absent):

    bundle_version  1
    receipt         {body, receipt_hash, signature, signer_kid}              hex, lower case
    keys            {signer, log: [vkey…], witnesses: [vkey…]}               what the bundle asserts, never what is trusted
    inclusion       {leaf_index, tree_size, proof: [hash…], root}
    checkpoint      signed note of just that size and root
    anchors?        [{target: "witness", checkpoint, consistency?: {from_size, to_size, proof}}]
    disclosure?     {input?: {salt, bytes_b64}, output?: {salt, bytes_b64 | chunks_b64}}

A trust file, version 1, holds {trust_version, origin, log_keys: [vkey…], signer_keys: [{kid, public_key,
valid_from_index, valid_to_index?}], witness_keys: [vkey…], witness_quorum}; `valid_to_index` is the first leaf index at
which the key no longer counts. Every byte of a bundle is bound by a signature, recomputed, cross-checked or refused.
One file on purpose: who audits the verifier reads this and the two pure rooms below it, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from shared.kernel import signing
from shared.kernel.canonical_json import Json, canonical_bytes, parse_strict
from shared.kernel.commitments import SALT_BYTES, chain_of, commit, commit_stream
from shared.kernel.errors import IntegrityFault, InvalidInput, LucidError
from shared.merkle.checkpoint import SignedCheckpoint, verify_line
from shared.merkle.hashing import HASH_BYTES, leaf_hash
from shared.merkle.notes import Algorithm, VerifierKey, decode_base64
from shared.merkle.verify import verify_consistency, verify_inclusion

BUNDLE_VERSION = 1
TRUST_VERSION = 1
MAX_BUNDLE_BYTES = 32 * 1024 * 1024
MAX_ANCHORS = 64
EXIT_UNPINNED = 3
SELF_ASSERTED = "self-asserted, not pinned"


class CheckName(StrEnum):
    """The checks, in the order in which they run."""

    TRUST = "trust file"
    PARSE = "parse"
    CANONICAL = "canonical form"
    RECEIPT_HASH = "receipt hash"
    SIGNATURE = "signature"
    SIGNER_KEY = "signer key"
    INCLUSION = "inclusion"
    CHECKPOINT = "checkpoint"
    COSIGNATURES = "cosignatures"
    ANCHORS = "anchors"
    QUORUM = "witness quorum"
    DISCLOSURE = "disclosure"


# 1 and 2 stay free for what command lines use them for: an unexpected fault, and wrong arguments.
EXIT_CODES = {name: 10 + order for order, name in enumerate(CheckName)}


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: CheckName
    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Report:
    """What was checked, how each check ended, and what nobody checked."""

    lines: tuple[Check, ...]
    pinned: bool
    not_checked: tuple[str, ...]

    @property
    def failure(self) -> Check | None:
        """The first check that failed."""
        return next((line for line in self.lines if line.outcome is Outcome.FAILED), None)

    @property
    def exit_code(self) -> int:
        """0 when all holds, 3 when it holds but no trust file pins the keys, else the code of the first failure."""
        if self.failure is not None:
            return EXIT_CODES[self.failure.name]
        return 0 if self.pinned else EXIT_UNPINNED


def render_bundle(bundle: Mapping[str, object]) -> bytes:
    """Return the one serialisation of a bundle that `verify_bundle` accepts. Raises `NotCanonical`."""
    canonical_bytes(bundle)
    return (json.dumps(bundle, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode()


def verify_bundle(bundle: bytes, trust: bytes | None) -> Report:
    """Check a bundle against a trust file's bytes, or against itself when there is none. Never raises."""
    run = _Verification(bundle, trust)
    lines: list[Check] = []
    for name in CheckName:
        if any(line.outcome is Outcome.FAILED for line in lines):
            lines.append(Check(name, Outcome.SKIPPED, "not reached"))
            continue
        try:
            outcome, detail = run.steps[name]()
        except LucidError as fault:
            outcome, detail = Outcome.FAILED, fault.message
        lines.append(Check(name, outcome, detail))
    return Report(lines=tuple(lines), pinned=trust is not None, not_checked=_not_checked(lines, trust is not None))


@dataclass(frozen=True)
class _SignerKey:
    public: bytes
    valid_from: int
    valid_to: int | None


@dataclass(frozen=True)
class _Trust:
    origin: str
    log_keys: tuple[VerifierKey, ...]
    signers: Mapping[str, _SignerKey]
    witness_keys: tuple[VerifierKey, ...]
    quorum: int


@dataclass(frozen=True)
class _Anchor:
    signed: SignedCheckpoint
    consistency: tuple[int, int, list[bytes]] | None


@dataclass(frozen=True)
class _Opening:
    salt: bytes
    whole: bytes | None
    chunks: tuple[bytes, ...]


@dataclass(frozen=True)
class _Bundle:
    body: dict[str, Json]
    receipt_hash: bytes
    signature: bytes
    signer_kid: str
    signer: bytes
    log_keys: tuple[VerifierKey, ...]
    witness_keys: tuple[VerifierKey, ...]
    leaf_index: int
    tree_size: int
    proof: list[bytes]
    root: bytes
    signed: SignedCheckpoint
    anchors: tuple[_Anchor, ...]
    openings: Mapping[str, _Opening]


_Step = tuple[Outcome, str]


class _Verification:
    """One run over one bundle. Each step returns its outcome or raises a `LucidError` that says what does not hold."""

    bundle: _Bundle

    def __init__(self, raw: bytes, trust: bytes | None) -> None:
        self._raw = raw
        self._raw_trust = trust
        self._trust: _Trust | None = None
        self._document: dict[str, Json] = {}
        self._witnesses: set[bytes] = set()  # public keys of pinned witnesses that vouched: a key counts once
        self.steps: dict[CheckName, Callable[[], _Step]] = {
            CheckName.TRUST: self._read_trust,
            CheckName.PARSE: self._parse,
            CheckName.CANONICAL: self._canonical,
            CheckName.RECEIPT_HASH: self._receipt_hash,
            CheckName.SIGNATURE: self._signature,
            CheckName.SIGNER_KEY: self._signer_key,
            CheckName.INCLUSION: self._inclusion,
            CheckName.CHECKPOINT: self._checkpoint,
            CheckName.COSIGNATURES: self._cosignatures,
            CheckName.ANCHORS: self._anchors,
            CheckName.QUORUM: self._quorum,
            CheckName.DISCLOSURE: self._disclosure,
        }

    def _read_trust(self) -> _Step:
        if self._raw_trust is None:
            return Outcome.SKIPPED, "no trust file"
        self._trust = _trust(_document(self._raw_trust))
        return Outcome.OK, f"log {self._trust.origin}"

    def _parse(self) -> _Step:
        self._document = _document(self._raw)
        self.bundle = _bundle(self._document)
        return Outcome.OK, f"bundle version {BUNDLE_VERSION}"

    def _canonical(self) -> _Step:
        if render_bundle(self._document) != self._raw:
            raise IntegrityFault("the bytes are not the bundle's one canonical serialisation")
        return Outcome.OK, f"{len(self._raw)} bytes"

    def _receipt_hash(self) -> _Step:
        if hashlib.sha256(canonical_bytes(self.bundle.body)).digest() != self.bundle.receipt_hash:
            raise IntegrityFault("the body has another hash than the receipt states")
        return Outcome.OK, self.bundle.receipt_hash.hex()

    def _signature(self) -> _Step:
        bundle = self.bundle
        if not bundle.signer_kid == bundle.body.get("signer_kid") == signing.key_id_of(bundle.signer):
            raise IntegrityFault("the signed body names another key than the bundle gives")
        if not signing.verify(bundle.signer, bundle.signature, bundle.receipt_hash):
            raise IntegrityFault("the receipt's signature does not verify")
        return Outcome.OK, f"Ed25519 by {bundle.signer_kid}"

    def _signer_key(self) -> _Step:
        bundle = self.bundle
        if self._trust is None:
            return Outcome.SKIPPED, SELF_ASSERTED
        pinned = self._trust.signers.get(bundle.signer_kid)
        if pinned is None or pinned.public != bundle.signer:
            raise IntegrityFault("the signer's key is not in the trust file")
        if bundle.leaf_index < pinned.valid_from or (
            pinned.valid_to is not None and bundle.leaf_index >= pinned.valid_to
        ):
            raise IntegrityFault(f"the signer's key was not valid at leaf index {bundle.leaf_index}")
        return Outcome.OK, f"pinned, valid at leaf index {bundle.leaf_index}"

    def _inclusion(self) -> _Step:
        bundle, head = self.bundle, self.bundle.signed.checkpoint
        if (bundle.tree_size, bundle.root) != (head.size, head.root):
            raise IntegrityFault("the checkpoint is of another size or root than the inclusion proof")
        verify_inclusion(
            leaf=leaf_hash(bundle.receipt_hash),
            index=bundle.leaf_index,
            size=head.size,
            proof=bundle.proof,
            root=head.root,
        )
        return Outcome.OK, f"leaf {bundle.leaf_index} of {head.size}"

    def _checkpoint(self) -> _Step:
        _require_used(self.bundle)
        return Outcome.OK, self._log_signatures(self.bundle.signed)

    def _cosignatures(self) -> _Step:
        seen = self._vouchers(self.bundle.signed)
        return (Outcome.OK, "; ".join(seen)) if seen else (Outcome.SKIPPED, "none on the checkpoint itself")

    def _anchors(self) -> _Step:
        details = [self._anchor(anchor) for anchor in self.bundle.anchors]
        return (Outcome.OK, "; ".join(details)) if details else (Outcome.SKIPPED, "none in the bundle")

    def _anchor(self, anchor: _Anchor) -> str:
        bundle, head = self.bundle, anchor.signed.checkpoint
        if head.size <= bundle.leaf_index:
            raise IntegrityFault(f"the anchored size {head.size} does not cover the receipt")
        self._log_signatures(anchor.signed)
        ordered = sorted([(bundle.tree_size, bundle.root), (head.size, head.root)])
        (old_size, old_root), (new_size, new_root) = ordered
        old, new, proof = anchor.consistency or (head.size, head.size, [])
        if (old, new) != (old_size, new_size):
            raise IntegrityFault("the anchor's consistency proof is missing or for other sizes")
        verify_consistency(old_size=old, new_size=new, old_root=old_root, new_root=new_root, proof=proof)
        seen = self._vouchers(anchor.signed)
        if not seen:
            raise IntegrityFault("a witness anchor holds no cosignature")
        return f"size {head.size}: {'; '.join(seen)}"

    def _quorum(self) -> _Step:
        if self._trust is None:
            return Outcome.SKIPPED, SELF_ASSERTED
        detail = f"{len(self._witnesses)} pinned, {self._trust.quorum} needed"
        if len(self._witnesses) < self._trust.quorum:
            raise IntegrityFault(f"too few witnesses vouch for the log: {detail}")
        return (Outcome.OK if self._trust.quorum else Outcome.SKIPPED), detail

    def _disclosure(self) -> _Step:
        body, openings = self.bundle.body, self.bundle.openings
        for name, opening in openings.items():
            if body.get(f"{name}_commitment") != _commitment(opening, body.get("run_id")).hex():
                raise IntegrityFault(f"the disclosed {name} is not what the receipt commits to")
        if not openings:
            return Outcome.SKIPPED, "nothing is disclosed"
        return Outcome.OK, " and ".join(openings)

    def _log_signatures(self, signed: SignedCheckpoint) -> str:
        """Verify the log's lines. Of each algorithm that the trust file pins, one pinned key must have signed."""
        head = signed.checkpoint
        known = {(key.name, key.key_id) for key in (*self.bundle.log_keys, *self.bundle.witness_keys)}
        if any((line.name, line.key_id) not in known for line in signed.signatures):
            raise IntegrityFault("the checkpoint has a signature by a key that the bundle does not give")
        if head.origin != (self._trust.origin if self._trust else self.bundle.signed.checkpoint.origin):
            raise IntegrityFault("the checkpoint is of another log")
        signers = [key for key, _ in _verified(signed, self.bundle.log_keys) if key.name == head.origin]
        if not signers:
            raise IntegrityFault("the log did not sign the checkpoint")
        if self._trust is None:
            return f"{head.origin} size {head.size}: {SELF_ASSERTED}"
        pinned = {key.algorithm for key in signers if key in self._trust.log_keys}
        if not pinned or pinned != {key.algorithm for key in self._trust.log_keys}:
            raise IntegrityFault("the checkpoint lacks a signature by a pinned log key")
        return f"{head.origin} size {head.size}, signed by a pinned key"

    def _vouchers(self, signed: SignedCheckpoint) -> list[str]:
        """Verify the witnesses' lines, count the pinned ones, and say who they are."""
        seen = []
        for key, timestamp in _verified(signed, self.bundle.witness_keys):
            pinned = self._trust is not None and key in self._trust.witness_keys
            if pinned:
                self._witnesses.add(key.public)
            seen.append(f"{key.name} at {_instant(timestamp)} ({'pinned' if pinned else 'not pinned'})")
        return seen


def _verified(signed: SignedCheckpoint, keys: Iterable[VerifierKey]) -> list[tuple[VerifierKey, int | None]]:
    """Verify every line by one of `keys`, and return who signed and when. Raises `BadSignature`."""
    pairs = [(key, line) for key in keys for line in signed.signatures if line.is_by(key)]
    return [(key, verify_line(signed.checkpoint, line, key)) for key, line in pairs]


def _commitment(opening: _Opening, run_id: Json | None) -> bytes:
    if opening.whole is not None:
        return commit(opening.salt, opening.whole)
    if not isinstance(run_id, str):
        raise IntegrityFault("a stream is disclosed for a receipt that names no run")
    return commit_stream(opening.salt, chain_of(run_id, opening.chunks))


def _require_used(bundle: _Bundle) -> None:
    notes = (bundle.signed, *(anchor.signed for anchor in bundle.anchors))
    lines = [line for note in notes for line in note.signatures]
    for key in (*bundle.log_keys, *bundle.witness_keys):
        if not any(line.is_by(key) for line in lines):
            raise IntegrityFault("the bundle gives a key that signed nothing in it")


def _not_checked(lines: Iterable[Check], pinned: bool) -> tuple[str, ...]:
    reached = {line.name: line.outcome for line in lines}
    notes = [] if pinned else ["who holds the keys: the bundle vouches for itself until a trust file pins them"]
    if reached[CheckName.DISCLOSURE] is not Outcome.OK:
        notes.append("what went in and came out: the bundle opens no commitment")
    if reached[CheckName.QUORUM] is not Outcome.OK:
        notes.append("whether others are shown the same log: no pinned witness was required")
    notes.append("whether the body's statements are true: the signature shows who made them")
    notes.append("whether a later receipt supersedes this one")
    notes.append("the witnesses' times: stated by each witness, compared with no clock")
    return tuple(notes)


def _instant(timestamp: int | None) -> str:
    try:
        return datetime.fromtimestamp(timestamp or 0, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return f"Unix second {timestamp}"


class _Fields:
    """An object's members, each read once and by type; what is left unread is unknown and refused."""

    def __init__(self, value: Json, place: str) -> None:
        if not isinstance(value, dict):
            raise InvalidInput(f"{place} is not an object")
        self._left = dict(value)
        self._place = place

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def close(self) -> None:
        """Refuse what nobody asked for; the names are not repeated, they are the sender's."""
        if self._left:
            raise InvalidInput(f"{self._place} has an unknown field")

    def take(self, name: str) -> Json:
        if name not in self._left:
            raise InvalidInput(f"{self._place}.{name} is missing")
        return self._left.pop(name)

    def within(self, name: str) -> _Fields:
        return _Fields(self.take(name), f"{self._place}.{name}")

    def text(self, name: str) -> str:
        value = self.take(name)
        if not isinstance(value, str):
            raise InvalidInput(f"{self._place}.{name} is not a string")
        return value

    def count(self, name: str) -> int:
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidInput(f"{self._place}.{name} is not a whole number")
        return value

    def members(self, name: str) -> list[Json]:
        value = self.take(name)
        if not isinstance(value, list):
            raise InvalidInput(f"{self._place}.{name} is not a list")
        return value

    def texts(self, name: str) -> list[str]:
        values = self.members(name)
        texts = [value for value in values if isinstance(value, str)]
        if len(texts) != len(values):
            raise InvalidInput(f"{self._place}.{name} holds something that is not a string")
        return texts

    def hex(self, name: str, length: int) -> bytes:
        return _hex(self.text(name), length, f"{self._place}.{name}")

    def hashes(self, name: str) -> list[bytes]:
        return [_hex(text, HASH_BYTES, f"{self._place}.{name}") for text in self.texts(name)]

    def vkeys(self, name: str, allowed: set[Algorithm]) -> tuple[VerifierKey, ...]:
        keys = tuple(VerifierKey.parse(text) for text in self.texts(name))
        if len({(key.name, key.key_id) for key in keys}) != len(keys) or {key.algorithm for key in keys} - allowed:
            raise InvalidInput(f"{self._place}.{name} repeats a key or holds one of another kind")
        return keys


_LOG_ALGORITHMS = {Algorithm.ED25519, Algorithm.MLDSA44}
_WITNESS_ALGORITHMS = {Algorithm.COSIGNATURE_V1, Algorithm.MLDSA44}


def _hex(text: str, length: int, place: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length or value.hex() != text:  # upper case and spaces are other spellings of the same bytes
        raise InvalidInput(f"{place} is not {2 * length} lower-case hex digits")
    return value


def _document(raw: bytes) -> dict[str, Json]:
    if len(raw) > MAX_BUNDLE_BYTES:
        raise InvalidInput("the file is too large")
    document = parse_strict(raw)
    if not isinstance(document, dict):
        raise InvalidInput("the file holds no JSON object")
    return document


def _bundle(document: dict[str, Json]) -> _Bundle:
    fields = _Fields(document, "bundle")
    if fields.count("bundle_version") != BUNDLE_VERSION:
        raise InvalidInput("the bundle has a version that this verifier does not know")
    receipt, keys, inclusion = fields.within("receipt"), fields.within("keys"), fields.within("inclusion")
    body = receipt.take("body")
    if not isinstance(body, dict):
        raise InvalidInput("bundle.receipt.body is not an object")
    bundle = _Bundle(
        body=body,
        receipt_hash=receipt.hex("receipt_hash", HASH_BYTES),
        signature=receipt.hex("signature", signing.SIGNATURE_BYTES),
        signer_kid=receipt.text("signer_kid"),
        signer=keys.hex("signer", signing.PUBLIC_KEY_BYTES),
        log_keys=keys.vkeys("log", _LOG_ALGORITHMS),
        witness_keys=keys.vkeys("witnesses", _WITNESS_ALGORITHMS),
        leaf_index=inclusion.count("leaf_index"),
        tree_size=inclusion.count("tree_size"),
        proof=inclusion.hashes("proof"),
        root=inclusion.hex("root", HASH_BYTES),
        signed=SignedCheckpoint.parse(fields.text("checkpoint")),
        anchors=_anchors(fields),
        openings=_openings(fields),
    )
    for part in (receipt, keys, inclusion, fields):
        part.close()
    if set(bundle.log_keys) & set(bundle.witness_keys):
        raise InvalidInput("bundle.keys gives one key both as the log's and as a witness's")
    return bundle


def _anchors(fields: _Fields) -> tuple[_Anchor, ...]:
    members = fields.members("anchors") if "anchors" in fields else []
    if len(members) > MAX_ANCHORS:
        raise InvalidInput("bundle.anchors is too long")
    return tuple(_read_anchor(_Fields(member, "bundle.anchors[]")) for member in members)


def _read_anchor(fields: _Fields) -> _Anchor:
    if fields.text("target") != "witness":
        raise InvalidInput("bundle.anchors[].target is none that this verifier knows")
    signed = SignedCheckpoint.parse(fields.text("checkpoint"))
    consistency = None
    if "consistency" in fields:
        inner = fields.within("consistency")
        consistency = (inner.count("from_size"), inner.count("to_size"), inner.hashes("proof"))
        inner.close()
    fields.close()
    return _Anchor(signed=signed, consistency=consistency)


def _openings(fields: _Fields) -> dict[str, _Opening]:
    if "disclosure" not in fields:
        return {}
    inner = fields.within("disclosure")
    openings = {name: _opening(inner.within(name)) for name in ("input", "output") if name in inner}
    inner.close()
    return openings


def _opening(fields: _Fields) -> _Opening:
    salt = fields.hex("salt", SALT_BYTES)
    chunks: tuple[bytes, ...] = ()
    whole = None
    if "chunks_b64" in fields:
        chunks = tuple(decode_base64(text) for text in fields.texts("chunks_b64"))
    else:
        whole = decode_base64(fields.text("bytes_b64"))
    fields.close()
    return _Opening(salt=salt, whole=whole, chunks=chunks)


def _trust(document: dict[str, Json]) -> _Trust:
    fields = _Fields(document, "trust")
    if fields.count("trust_version") != TRUST_VERSION:
        raise InvalidInput("the trust file has a version that this verifier does not know")
    entries = [_signer(_Fields(entry, "trust.signer_keys[]")) for entry in fields.members("signer_keys")]
    trust = _Trust(
        origin=fields.text("origin"),
        log_keys=fields.vkeys("log_keys", _LOG_ALGORITHMS),
        signers=dict(entries),
        witness_keys=fields.vkeys("witness_keys", _WITNESS_ALGORITHMS),
        quorum=fields.count("witness_quorum"),
    )
    fields.close()
    witnesses = {key.public for key in trust.witness_keys}
    if len(trust.signers) != len(entries) or not trust.log_keys:
        raise InvalidInput("the trust file repeats a signer key or pins no log key")
    if len(witnesses) != len(trust.witness_keys) or witnesses & {key.public for key in trust.log_keys}:
        raise InvalidInput("the trust file lets one key vouch twice")
    if trust.quorum > len(witnesses):
        raise InvalidInput("trust.witness_quorum exceeds the number of witness keys")
    return trust


def _signer(fields: _Fields) -> tuple[str, _SignerKey]:
    public = fields.hex("public_key", signing.PUBLIC_KEY_BYTES)
    signing.check_public_key(public)
    kid, valid_from = fields.text("kid"), fields.count("valid_from_index")
    valid_to = fields.count("valid_to_index") if "valid_to_index" in fields else None
    fields.close()
    if kid != signing.key_id_of(public):
        raise InvalidInput("trust.signer_keys[].kid is not the id of its public key")
    return kid, _SignerKey(public=public, valid_from=valid_from, valid_to=valid_to)
