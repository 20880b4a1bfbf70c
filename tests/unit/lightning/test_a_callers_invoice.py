"""A payment request from a caller: read, or refused as his fault; never anything else."""

from __future__ import annotations

import os
import random
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import bech32
import bolt11
import pytest
from coincurve import PrivateKey

from shared.kernel.errors import InvalidInput
from shared.lightning.clients.payable import payable
from shared.lightning.model import Payable

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "11" * 32
HASH = "ab" * 32
CASES = 100_000 if os.environ.get("LUCID_SOAK") else 2_000
REQUIRED, SUPPORTED = bolt11.FeatureState.required, bolt11.FeatureState.supported
USUAL: dict[Any, Any] = {
    bolt11.Feature.var_onion_optin: REQUIRED,
    bolt11.Feature.payment_secret: REQUIRED,
    bolt11.Feature.basic_mpp: SUPPORTED,
}


def signed(
    amount_msat: int | None = 29_000,
    *,
    currency: str = "bcrt",
    made_at: datetime = NOW,
    expiry_s: int | None = 3600,
    features: dict[Any, Any] | None = None,
    memo: str = "refund",
    keeps_payee: bool = True,
) -> str:
    """Return a signed request; by default one that may be paid."""
    tags = bolt11.Tags()
    tags.add(bolt11.TagChar.payment_hash, HASH)
    tags.add(bolt11.TagChar.payment_secret, "cd" * 32)
    tags.add(bolt11.TagChar.description, memo)
    if keeps_payee:
        tags.add(bolt11.TagChar.payee, PrivateKey(bytes.fromhex(KEY)).public_key.format().hex())
    if expiry_s is not None:
        tags.add(bolt11.TagChar.expire_time, expiry_s)
    tags.add(bolt11.TagChar.features, bolt11.Features.from_feature_list(features or USUAL))
    amount = None if amount_msat is None else bolt11.MilliSatoshi(amount_msat)
    unsigned = bolt11.Bolt11(currency=currency, date=int(made_at.timestamp()), tags=tags, amount_msat=amount)
    return str(bolt11.encode(unsigned, KEY, keep_payee=keeps_payee))


def read(text: str) -> Payable:
    return payable(text, network="regtest", now=NOW)


def resigned(human: str, request: str) -> str:
    """Return the request under another human part, with a checksum that fits."""
    _, words = bech32.bech32_decode(request)
    assert words is not None
    return str(bech32.bech32_encode(human, words))


def test_what_an_invoice_asks_for_is_read() -> None:
    text = signed()
    found = read(text)
    assert (found.payment_request, found.payment_hash, found.amount_msat) == (text, bytes.fromhex(HASH), 29_000)
    assert found.expires_at == NOW + timedelta(seconds=3600)
    assert len(bytes.fromhex(found.payee)) == 33
    assert read(signed(expiry_s=None)).expires_at == NOW + timedelta(seconds=3600)


@pytest.mark.parametrize(
    "wrap",
    ["{}", "  {}\n", "lightning:{}", "LIGHTNING:{}", "lightning://{}", "\tLightning:{} "],
)
def test_the_forms_in_which_wallets_hand_invoices_over_are_the_same_invoice(wrap: str) -> None:
    text = signed()
    assert read(wrap.format(text)) == read(wrap.format(text.upper())) == read(text)


def test_an_expired_invoice_is_read_so_that_a_payment_of_it_can_be_told() -> None:
    assert read(signed(made_at=NOW - timedelta(days=9))).expires_at < NOW


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a BOLT11"),
        ("lnbcrt", "not a BOLT11"),
        ("lightning:", "not a BOLT11"),
        ("lnurl1dp68gurn8ghj7", "not a BOLT11"),
        ("lni1qcp4256ypqpq86q69t5wv5629arxqcza86p4ar4l9", "not a BOLT11"),
        ("lnbcrt290n1" + "q" * 2038, "longer than 2048"),
        ("lnbcrt290n1" + "q" * 2000, "more than 40 fields"),
        (signed()[:-1], "not a BOLT11"),
        (signed()[:-1] + ("q" if signed()[-1] != "q" else "p"), "not a BOLT11"),
        (signed().replace("lnbcrt", "LNBCRT"), "not a BOLT11"),
        ("lightning:lightning:" + signed(), "not a BOLT11"),
        (signed() + " " + signed(), "not a BOLT11"),
        (signed().replace("1", "１", 1), "not a BOLT11"),
        (signed() + "\x00", "not a BOLT11"),
        (signed(None), "names no amount"),
        (signed(29_001), "whole sats"),
        (signed(500), "whole sats"),
        (resigned("lnbcrt0n", signed()), "not a BOLT11"),
        (resigned("lnbcrt0", signed()), "not a BOLT11"),
        (resigned("lnbcrt029u", signed()), "not a BOLT11"),
        (resigned("lnbcrt15p", signed()), "whole sats"),
        (resigned("lnbcrt29000000000000000000", signed()), "whole sats"),
        (resigned("lnbcrt99999999999999999999", signed()), "whole sats"),
        (resigned("lnbcrt290x", signed()), "not a BOLT11"),
        (signed(currency="bc"), "not one of regtest"),
        (signed(currency="tb"), "not one of regtest"),
        (signed(currency="tbs"), "not one of regtest"),
        (signed(made_at=NOW + timedelta(minutes=30)), "in the future"),
        (signed(made_at=NOW + timedelta(days=300_000)), "in the future"),
        (signed(expiry_s=7 * 86_400 + 700), "within 7 days"),
        (signed(expiry_s=2**60), "not a BOLT11"),
        (signed(features={**USUAL, bolt11.FeatureExtra(50): REQUIRED}), "requires feature 100"),
        (signed(features={**USUAL, bolt11.Feature.option_zeroconf: REQUIRED}), "requires feature 34"),
    ],
)
def test_what_cannot_be_paid_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        read(text)
    assert refused.value.field == "invoice"


def test_a_week_is_not_too_long_and_neither_is_what_a_wallet_says_of_its_routes() -> None:
    assert read(signed(expiry_s=7 * 86_400, made_at=NOW + timedelta(minutes=5))).amount_msat == 29_000
    assert read(signed(memo="x" * 600)).amount_msat == 29_000


def test_features_that_are_offered_and_not_required_do_no_harm() -> None:
    assert read(signed(features={**USUAL, bolt11.FeatureExtra(50): SUPPORTED})).amount_msat == 29_000
    assert read(signed(features={**USUAL, bolt11.Feature.basic_mpp: REQUIRED})).amount_msat == 29_000


def test_a_changed_amount_does_not_pass_where_the_payee_signed_with_his_name() -> None:
    with pytest.raises(InvalidInput):
        read(resigned("lnbcrt900n", signed()))


def test_an_amount_is_read_to_the_millisatoshi_in_every_unit() -> None:
    plain = signed(keeps_payee=False)
    for human, sats in [
        ("lnbcrt290n", 29),
        ("lnbcrt29u", 2_900),
        ("lnbcrt2m", 200_000),
        ("lnbcrt1", 10**8),
        ("lnbcrt290000p", 29),
    ]:
        assert read(resigned(human, plain)).amount_msat == sats * 1000


def test_whatever_is_done_to_an_invoice_it_is_read_or_refused() -> None:
    """Bytes flipped under a checksum that fits, texts cut and joined, characters of all kinds: 100,000 in a soak."""
    chance = random.Random(20261122)
    seeds = [
        signed(),
        signed(keeps_payee=False),
        signed(10**9, memo="é" * 20),
        signed(features={**USUAL, bolt11.FeatureExtra(60): SUPPORTED}),
    ]
    passed = 0
    for _ in range(CASES):
        text = _mutated(chance, chance.choice(seeds))
        try:
            found = read(text)
        except InvalidInput:
            continue
        passed += 1
        assert found.amount_msat > 0
        assert found.amount_msat % 1000 == 0
        assert len(found.payment_hash) == 32
        assert found.payment_request == found.payment_request.lower()
        assert found.payment_request.startswith("lnbcrt")
    assert passed < CASES


def _mutated(chance: random.Random, text: str) -> str:
    kind = chance.randrange(6)
    if kind == 0:  # a valid checksum over changed words: what reaches the parsers
        human, words = bech32.bech32_decode(text)
        assert words is not None
        for _ in range(chance.randint(1, 4)):
            words[chance.randrange(len(words))] = chance.randrange(32)
        return str(bech32.bech32_encode(human, words))
    if kind == 1:  # words cut out or put in, under a valid checksum
        human, words = bech32.bech32_decode(text)
        assert words is not None
        at, length = chance.randrange(len(words)), chance.randrange(40)
        extra = [chance.randrange(32) for _ in range(chance.randrange(40))]
        return str(bech32.bech32_encode(human, words[:at] + extra + words[at + length :]))
    if kind == 2:  # another human part
        alphabet = "0123456789munpbctrlxs1"
        human = "lnbcrt" + "".join(chance.choice(alphabet) for _ in range(chance.randrange(8)))
        _, words = bech32.bech32_decode(text)
        assert words is not None
        return str(bech32.bech32_encode(human, words))
    if kind == 3:
        at = chance.randrange(len(text))
        return text[:at] + chance.choice(string.printable + "é\u2028\U0001f600\x00") + text[at + chance.randrange(2) :]
    if kind == 4:
        return text[chance.randrange(8) : len(text) - chance.randrange(8)] * chance.randint(1, 3)
    return "".join(chance.choice([str.upper, str.lower])(character) for character in text)
