"""A payment request that a caller wants paid: read with distrust, before any node sees it (BOLT11).

The library's decoder raises whatever its bit reader meets, rounds away what is below a millisatoshi, and lets required features
pass that nobody knows; so its word is taken only where ours agrees. Without a payee's field the payee is computed from the signature,
and a text that was changed on its way then names another payee: BOLT11 has no better answer, and neither has a node.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import bolt11

from shared.kernel.errors import InvalidInput
from shared.kernel.money import MSAT_PER_SAT
from shared.lightning.model import Payable

FIELD = "invoice"
MOST_CHARS = 2048
MOST_FIELDS = 40  # a node of ours names at most twenty routing hints and ten other fields
NOT_BOLT11 = "the invoice is not a BOLT11 payment request"
_SCHEME = re.compile(r"lightning:(//)?", re.IGNORECASE)
_TEXT = re.compile(r"ln(bcrt|tbs|bc|tb)([1-9][0-9]{0,19})?([munp])?1[02-9ac-hj-np-z]{110,}")
_PREFIXES = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
# One bitcoin is 10^11 msat; a p is a tenth of one.
_TENTHS_OF_MSAT = {"": 10**12, "m": 10**9, "u": 10**6, "n": 10**3, "p": 1}
_MOST_MSAT = 21_000_000 * 10**11
_SKEW = timedelta(minutes=10)
# Wallets make them for up to a week. While one lives its payment may still succeed, and what it is for stays bound to it.
_LONGEST_LIFE = timedelta(days=7)
_TIME_WORDS, _FIELD_WORDS, _END_WORDS = 7, 3, 104 + 6  # a field's type and length; the signature and the checksum
_WORDS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
# var_onion_optin, payment_secret, basic_mpp, payment_metadata, as BOLT9 numbers them. A required one beyond these we cannot do.
_MAY_BE_REQUIRED = frozenset({8, 14, 16, 48})


def payable(text: str, *, network: str, now: datetime) -> Payable:
    """Return what `text` asks for. Needs no node; whether it has expired is left to who pays it.

    Raises `InvalidInput` for anything that is not a payment request of this network over whole sats.
    """
    request = _unwrapped(text)
    named = _TEXT.fullmatch(request)
    if named is None:
        raise InvalidInput(NOT_BOLT11, field=FIELD)
    if named[1] != _PREFIXES[network]:
        raise InvalidInput(f"the invoice is not one of {network}", field=FIELD)
    amount_msat = _amount_msat(named[2], named[3] or "")
    _require_few_fields(request)
    try:
        read = _decoded(request, amount_msat)
        created_at = datetime.fromtimestamp(read.date, UTC)
        expires_at = created_at + timedelta(seconds=int(read.expiry))
    except InvalidInput:
        raise
    except Exception:  # noqa: BLE001 - the library raises whatever its parsers raise, and so do absurd dates
        raise InvalidInput(NOT_BOLT11, field=FIELD) from None
    if created_at > now + _SKEW:
        raise InvalidInput("the invoice was made in the future", field=FIELD)
    if expires_at > now + _LONGEST_LIFE + _SKEW:
        raise InvalidInput(f"the invoice must expire within {_LONGEST_LIFE.days} days", field=FIELD)
    return Payable(request, bytes.fromhex(read.payment_hash), amount_msat, str(read.payee), expires_at)


def _unwrapped(text: str) -> str:
    """Return the bare request in lower case. Bech32 is of one case; a link around it may be of another."""
    if len(text) > MOST_CHARS:
        raise InvalidInput(f"the invoice is longer than {MOST_CHARS} characters", field=FIELD)
    bare = _SCHEME.sub("", text.strip(), count=1) if _SCHEME.match(text.strip()) else text.strip()
    if not bare.isascii() or bare not in (bare.lower(), bare.upper()):
        raise InvalidInput(NOT_BOLT11, field=FIELD)
    return bare.lower()


def _amount_msat(digits: str | None, unit: str) -> int:
    if digits is None:
        raise InvalidInput("the invoice names no amount", field=FIELD)
    amount_msat, rest = divmod(int(digits) * _TENTHS_OF_MSAT[unit], 10)
    if rest or amount_msat % MSAT_PER_SAT or amount_msat > _MOST_MSAT:
        raise InvalidInput("the invoice must ask for whole sats", field=FIELD)
    return amount_msat


def _require_few_fields(request: str) -> None:
    """Bound what the decoder, which is slow, is given: walk the tagged fields without reading them."""
    words = request[request.rindex("1") + 1 : -_END_WORDS]
    at, fields = _TIME_WORDS, 0
    while at + _FIELD_WORDS <= len(words):
        at += _FIELD_WORDS + _WORDS.index(words[at + 1]) * 32 + _WORDS.index(words[at + 2])
        fields += 1
        if fields > MOST_FIELDS:
            raise InvalidInput(f"the invoice has more than {MOST_FIELDS} fields", field=FIELD)


def _decoded(request: str, amount_msat: int) -> Any:
    """Decode, and require what the library does not. Raises `InvalidInput`, and whatever the library raises."""
    read = bolt11.decode(request)
    if read.amount_msat != amount_msat or len(read.payment_hash) != 64 or len(read.payment_secret or "") != 64:
        raise InvalidInput(NOT_BOLT11, field=FIELD)
    for feature, state in read.features.feature_list.items() if read.features else ():
        bit = 2 * feature.value + state.value
        if state is bolt11.FeatureState.required and bit not in _MAY_BE_REQUIRED:
            raise InvalidInput(f"the invoice requires feature {bit}, which is not supported", field=FIELD)
    return read
