"""What a BOLT11 payment request says. The node's own requests only: one from a caller needs more distrust than this."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import bolt11

from shared.kernel.errors import IntegrityFault

DEFAULT_EXPIRY_S = 3600  # BOLT11: where the field is absent


_PREFIXES = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}


def expiry_of(payment_request: str, *, network: str) -> datetime:
    """Return until when payers may pay. Raises `IntegrityFault` where the text is no payment request of this network.

    A node of another network than the operator named would sell work for play money.
    """
    try:
        invoice = bolt11.decode(payment_request)
    except Exception as error:  # the library raises whatever its parsers raise
        raise IntegrityFault("the node's payment request cannot be read") from error
    if invoice.currency != _PREFIXES[network]:
        raise IntegrityFault(f"the Lightning node is not on {network}: LND_NETWORK and LND_GRPC disagree")
    expiry_s = DEFAULT_EXPIRY_S if invoice.expiry is None else int(invoice.expiry)
    return datetime.fromtimestamp(invoice.date, UTC) + timedelta(seconds=expiry_s)
