"""What a BOLT11 payment request says. The node's own requests only: one from a caller needs more distrust than this.

Two fields are read, and the text's checksum is checked; whose signature it bears does not matter, because the node gave it to us over
its own connection. A whole decoding takes as long as everything else that a step does with an invoice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import bech32

from shared.kernel.errors import IntegrityFault

DEFAULT_EXPIRY_S = 3600  # BOLT11: where the field is absent


_PREFIXES = {"mainnet": "bc", "testnet": "tb", "signet": "tbs", "regtest": "bcrt"}
_HUMAN_PART = re.compile(r"ln(bcrt|tbs|bc|tb)([1-9][0-9]*[munp]?)?")
# in words of five bits
_WORD = 5
_TIMESTAMP_WORDS, _SIGNATURE_WORDS, _FIELD_HEAD_WORDS = 7, 104, 3
_EXPIRY = bech32.CHARSET.index("x")


def expiry_of(payment_request: str, *, network: str) -> datetime:
    """Return until when payers may pay. Raises `IntegrityFault` where the text is no payment request of this network.

    A node of another network than the operator named would sell work for play money.
    """
    human, words = bech32.bech32_decode(payment_request)
    named = _HUMAN_PART.fullmatch(human or "")
    if named is None or words is None or len(words) < _TIMESTAMP_WORDS + _SIGNATURE_WORDS:
        raise IntegrityFault("the node's payment request cannot be read")
    if named[1] != _PREFIXES[network]:
        raise IntegrityFault(f"the Lightning node is not on {network}: LND_NETWORK and LND_GRPC disagree")
    fields = _fields(words[_TIMESTAMP_WORDS:-_SIGNATURE_WORDS])
    expiry_s = next((_number(content) for tag, content in fields if tag == _EXPIRY), DEFAULT_EXPIRY_S)
    return datetime.fromtimestamp(_number(words[:_TIMESTAMP_WORDS]), UTC) + timedelta(seconds=expiry_s)


def _fields(words: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield each tagged field: its tag, then its content. Raises `IntegrityFault` where one is longer than what is left."""
    at = 0
    while at < len(words):
        begins = at + _FIELD_HEAD_WORDS
        ends = begins + _number(words[at + 1 : begins])
        if len(words) < max(begins, ends):
            raise IntegrityFault("the node's payment request cannot be read")
        yield words[at], words[begins:ends]
        at = ends


def _number(words: Sequence[int]) -> int:
    value = 0
    for word in words:
        value = value << _WORD | word
    return value
