"""BOLT11 payment requests for regtest: signed as lnd signs them, read as lnd reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import bolt11
from coincurve import PrivateKey

from devstack.lightning.refusal import Refused

CURRENCY = "bcrt"
_MAX_LENGTH = 4096
_FEATURES: dict[bolt11.Feature | bolt11.FeatureExtra, bolt11.FeatureState] = {
    bolt11.Feature.var_onion_optin: bolt11.FeatureState.required,
    bolt11.Feature.payment_secret: bolt11.FeatureState.required,
    bolt11.Feature.basic_mpp: bolt11.FeatureState.supported,
}


@dataclass(frozen=True)
class PaymentRequest:
    """What a BOLT11 string says. `amount_msat` is 0 when it leaves the amount to the payer."""

    text: str
    payee: str
    payment_hash: bytes
    payment_addr: bytes
    amount_msat: int
    memo: str
    description_hash: str
    created_at: int
    expiry_s: int
    cltv_expiry: int
    feature_bits: tuple[int, ...]

    @property
    def expires_at(self) -> int:
        """Return the Unix second from which nobody may pay."""
        return self.created_at + self.expiry_s

    @property
    def valid_until(self) -> str:
        """Return the end of validity as Go prints a time, for lnd's error text."""
        return datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


@dataclass(frozen=True)
class Terms:
    """What an invoice promises, before it is signed."""

    payment_hash: bytes
    payment_addr: bytes
    amount_msat: int
    memo: str
    description_hash: bytes
    created_at: int
    expiry_s: int
    cltv_expiry: int


def sign(terms: Terms, key: PrivateKey) -> str:
    """Return the BOLT11 string for `terms`, with the payee written out, so that no tampered copy verifies."""
    tags = bolt11.Tags()
    tags.add(bolt11.TagChar.payment_hash, terms.payment_hash.hex())
    tags.add(bolt11.TagChar.payment_secret, terms.payment_addr.hex())
    if terms.description_hash:
        tags.add(bolt11.TagChar.description_hash, terms.description_hash.hex())
    else:
        tags.add(bolt11.TagChar.description, terms.memo)
    tags.add(bolt11.TagChar.payee, key.public_key.format().hex())
    tags.add(bolt11.TagChar.expire_time, terms.expiry_s)
    tags.add(bolt11.TagChar.min_final_cltv_expiry, terms.cltv_expiry)
    tags.add(bolt11.TagChar.features, bolt11.Features.from_feature_list(_FEATURES))
    amount = bolt11.MilliSatoshi(terms.amount_msat) if terms.amount_msat else None
    unsigned = bolt11.Bolt11(currency=CURRENCY, date=terms.created_at, tags=tags, amount_msat=amount)
    return bolt11.encode(unsigned, key.to_hex(), keep_payee=True)


def read(text: str) -> PaymentRequest:
    """Return what `text` says. Raises `Refused` for anything lnd would not decode."""
    if len(text) > _MAX_LENGTH:
        raise Refused("invoice is too long")
    try:
        found = bolt11.decode(text)
        return _understood(text, found)
    except Refused:
        raise
    except Exception as fault:  # noqa: BLE001 - the decoder raises whatever its bit reader meets
        raise Refused(f"failed to decode payment request: {fault or type(fault).__name__}") from None


def _understood(text: str, found: bolt11.Bolt11) -> PaymentRequest:
    if found.currency != CURRENCY:
        raise Refused("invoice not for current active network 'regtest'")
    if not found.payment_secret:
        raise Refused("payment request must contain either a payment address or blinded paths")
    return PaymentRequest(
        text=text.lower(),
        payee=found.payee or "",
        payment_hash=bytes.fromhex(found.payment_hash),
        payment_addr=bytes.fromhex(found.payment_secret),
        amount_msat=int(found.amount_msat or 0),
        memo=found.description or "",
        description_hash=found.description_hash or "",
        created_at=found.date,
        expiry_s=found.expiry,
        cltv_expiry=found.min_final_cltv_expiry,
        feature_bits=_bits(found),
    )


def _bits(found: bolt11.Bolt11) -> tuple[int, ...]:
    if found.features is None:
        return ()
    listed = found.features.feature_list.items()
    return tuple(sorted(2 * feature.value + state.value for feature, state in listed))
