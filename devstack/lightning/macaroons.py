"""Macaroons as lnd bakes and checks them: V2, an identifier that lists permissions, a root key of the node's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from pymacaroons import MACAROON_V2, Macaroon, Verifier
from pymacaroons.serializers.binary_serializer import BinarySerializer

from devstack.lightning.refusal import Refused
from devstack.lightning.stubs import lnrpc

URI = "uri"
_IDENTIFIER_VERSION = b"\x03"
_READ_WRITE = ("read", "write")
_ENTITIES = ("address", "info", "invoices", "message", "offchain", "onchain", "peers", "signer")
ADMIN: dict[str, tuple[str, ...]] = dict.fromkeys(_ENTITIES, _READ_WRITE)
INVOICES: dict[str, tuple[str, ...]] = {
    "info": ("read",),
    "invoices": _READ_WRITE,
    URI: ("/lnrpc.Lightning/DecodePayReq",),
}
PAYMENTS: dict[str, tuple[str, ...]] = {
    URI: (
        "/lnrpc.Lightning/DecodePayReq",
        "/lnrpc.Lightning/GetInfo",
        "/lnrpc.Lightning/ListPayments",
        "/routerrpc.Router/SendPaymentV2",
        "/routerrpc.Router/TrackPaymentV2",
    ),
}


def bake(root_key: bytes, permissions: Mapping[str, Iterable[str]]) -> str:
    """Return a new macaroon, hex, that allows `permissions` (entity → actions, or `uri` → method paths)."""
    identity = lnrpc.MacaroonId(
        nonce=secrets.token_bytes(16),
        storageId=b"0",
        ops=[lnrpc.Op(entity=entity, actions=list(actions)) for entity, actions in permissions.items()],
    )
    macaroon = Macaroon(
        location="lnd",
        identifier=_IDENTIFIER_VERSION + identity.SerializeToString(),
        key=root_key,
        version=MACAROON_V2,
    )
    return bytes(BinarySerializer().serialize_raw(macaroon)).hex()


def check(presented: list[str], *, root_key: bytes, entity: str, action: str, path: str) -> None:
    """Raise `Refused`, with lnd's texts, unless exactly one macaroon of ours allows this call."""
    if len(presented) != 1:
        raise Refused(f"expected 1 macaroon, got {len(presented)}")
    allowed = _permissions(presented[0], root_key)
    if action not in allowed.get(entity, ()) and path not in allowed.get(URI, ()):
        raise Refused("permission denied")


def _permissions(presented: str, root_key: bytes) -> dict[str, set[str]]:
    """Return what a genuine macaroon allows."""
    try:
        macaroon = BinarySerializer().deserialize_raw(bytes.fromhex(presented))
    except Exception:  # noqa: BLE001 - the parser raises whatever junk makes it trip over
        raise Refused("permission denied: cannot decode macaroon") from None
    verifier = Verifier()
    verifier.satisfy_general(_is_in_time)
    try:
        verifier.verify(macaroon, root_key)
        identity = lnrpc.MacaroonId.FromString(macaroon.identifier_bytes[1:])
    except Exception:  # noqa: BLE001 - a predicate or a third-party caveat may raise anything
        raise Refused("permission denied: verification failed: signature mismatch after caveat verification") from None
    return {op.entity: set(op.actions) for op in identity.ops}


def _is_in_time(caveat: str) -> bool:
    """lnd's own caveat, added by `lncli constrainmacaroon --timeout`."""
    name, _, until = caveat.partition(" ")
    return name == "time-before" and datetime.now(UTC) < datetime.fromisoformat(until)
