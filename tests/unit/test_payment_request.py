"""The two things that we read in our own node's payment requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import bech32
import bolt11
import pytest
from coincurve import PrivateKey

from devstack.lightning.payment_request import Terms, sign
from shared.kernel.errors import IntegrityFault
from shared.lightning.clients.payment_request import expiry_of

# BOLT11, examples: "Please send $3 for a cup of coffee to the same peer, within one minute"
COFFEE = (
    "lnbc2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpuaztrnwngzn3kdzw5hydlzf03qdgm"
    "2hdq27cqv3agm2awhz5se903vruatfhq77w3ls4evs3ch9zw97j25emudupq63nyw24cg27h2rspfj9srp"
)
# BOLT11, examples: "Please make a donation of any amount … to me", which says nothing of an expiry
DONATION = (
    "lnbc1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdpl2pkx2ctnv5sxxmmwwd5kgetjypeh2ursdae8g6twvus8g6rfwvs8qun0d"
    "fjkxaq8rkx3yf5tcsyz3d73gafnh3cax9rn449d9p5uxz9ezhhypd0elx87sjle52x86fux2ypatgddc6k63n7erqz25le42c4u4ecky03ylcqca784w"
)
MADE_AT = 1_496_314_658


def _signed(*, expiry_s: int, amount_msat: int = 10_000) -> str:
    terms = Terms(
        payment_hash=b"h" * 32,
        payment_addr=b"a" * 32,
        amount_msat=amount_msat,
        memo="Evaluation fee",
        description_hash=b"",
        created_at=MADE_AT,
        expiry_s=expiry_s,
        cltv_expiry=80,
    )
    return str(sign(terms, PrivateKey(b"k" * 32)))


def test_the_documents_own_example_expires_after_its_minute() -> None:
    assert expiry_of(COFFEE, network="mainnet") == datetime.fromtimestamp(MADE_AT + 60, UTC)


def test_without_an_expiry_field_an_hour_counts() -> None:
    assert expiry_of(DONATION, network="mainnet") == datetime.fromtimestamp(MADE_AT, UTC) + timedelta(hours=1)


@pytest.mark.parametrize("expiry_s", [1, 900, 86_400, 31_536_000])
@pytest.mark.parametrize("amount_msat", [0, 1, 10_000, 123_456_000])
def test_a_whole_decoding_reads_the_same_expiry(expiry_s: int, amount_msat: int) -> None:
    text = _signed(expiry_s=expiry_s, amount_msat=amount_msat)
    whole = bolt11.decode(text)
    assert expiry_of(text, network="regtest") == datetime.fromtimestamp(whole.date + whole.expiry, UTC)


@pytest.mark.parametrize("network", ["mainnet", "testnet", "signet"])
def test_a_node_of_another_network_is_refused(network: str) -> None:
    with pytest.raises(IntegrityFault, match="LND_NETWORK"):
        expiry_of(_signed(expiry_s=900), network=network)


@pytest.mark.parametrize(
    "text", ["", "lnbc1", "x" * 300, COFFEE[:-1] + "q", COFFEE.replace("lnbc", "lntb"), COFFEE[2:]]
)
def test_what_is_no_payment_request_is_refused(text: str) -> None:
    with pytest.raises(IntegrityFault, match="cannot be read"):
        expiry_of(text, network="mainnet")


@pytest.mark.parametrize("cut", [1, 2, 3, 40])
def test_a_field_that_is_cut_short_is_refused(cut: int) -> None:
    human, words = bech32.bech32_decode(COFFEE)
    assert human is not None
    assert words is not None
    first_field = words[7:60]
    broken = bech32.bech32_encode(human, [*words[:7], *first_field[:cut], *words[-104:]])
    with pytest.raises(IntegrityFault, match="cannot be read"):
        expiry_of(broken, network="mainnet")
