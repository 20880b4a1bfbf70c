"""Sharing out a run's price: exact sums, floors, one recipient for what they leave, and records that anybody can check."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.canonical_json import jcs
from shared.kernel.errors import InvalidInput
from shared.splits.model import DEFAULT_SPLIT, MOST_LAMPORTS, WHOLE_BP, Role, Split, SplitConfig, Terms, Wallets
from shared.splits.records import asked_hash, record_of, verify
from shared.splits.shares import TreasuryMissing, price_of_tokens, share_out

TREASURY = "treasury"
WALLETS = Wallets("c", "m", "o")

totals = st.one_of(st.integers(0, 20_000), st.integers(0, MOST_LAMPORTS))
cuts = st.lists(st.integers(0, WHOLE_BP), min_size=3, max_size=3).map(sorted)
configs = cuts.map(lambda cut: SplitConfig(cut[0], cut[1] - cut[0], cut[2] - cut[1], WHOLE_BP - cut[2]))


def amounts(total: int, config: SplitConfig = DEFAULT_SPLIT) -> dict[Role, int]:
    return {share.role: share.lamports for share in share_out(total, config, WALLETS, treasury=TREASURY)}


@pytest.mark.parametrize(
    ("total", "compute", "model", "protocol"),
    [
        (10_000_000, 7_000_000, 2_000_000, 1_000_000),
        (10**15, 7 * 10**14, 2 * 10**14, 10**14),
        (100, 70, 20, 10),
        (150_000, 105_000, 30_000, 15_000),
        (1, 0, 0, 1),
        (0, 0, 0, 0),
        (10**18 + 1, 7 * 10**17, 2 * 10**17, 10**17 + 1),
    ],
)
def test_the_default_shares_are_the_known_ones(total: int, compute: int, model: int, protocol: int) -> None:
    assert amounts(total) == {Role.COMPUTE: compute, Role.MODEL: model, Role.PROTOCOL: protocol}


@pytest.mark.parametrize(
    ("tokens", "price", "total"), [(1500, 100_000, 150_000), (3000, 50_000, 150_000), (0, 100_000, 0), (1, 999, 0)]
)
def test_tokens_cost_the_known_totals(tokens: int, price: int, total: int) -> None:
    assert price_of_tokens(tokens, price_per_1k_lamports=price) == total


@given(total=totals, config=configs)
def test_shares_sum_to_the_total_and_none_is_negative(total: int, config: SplitConfig) -> None:
    shares = amounts(total, config)
    assert sum(shares.values()) == total
    assert min(shares.values()) >= 0


@given(total=totals, config=configs)
def test_every_role_but_the_protocol_gets_the_floor_and_the_protocol_less_than_a_lamport_each_more(
    total: int, config: SplitConfig
) -> None:
    shares = amounts(total, config)
    for role in Role:
        floor = total * config.of(role) // WHOLE_BP
        beyond = shares.get(role, 0) - floor
        assert beyond == 0 if role is not Role.PROTOCOL else 0 <= beyond < len(Role)


@given(total=totals, config=configs)
def test_a_record_verifies_and_its_hash_is_that_of_everything_else_in_it(total: int, config: SplitConfig) -> None:
    terms = Terms("run_1", total, WALLETS, config)
    split = record_of(terms, share_out(total, config, WALLETS, treasury=TREASURY), timestamp=1_700_000_000)
    assert verify(split).valid
    assert hashlib.sha256(jcs(json.loads(split.record))).digest() == split.payout_hash


@pytest.mark.parametrize(
    ("member", "value", "holds"),
    [
        ("total_amount_lamports", "101", ("hash_valid",)),
        ("timestamp", 5, ("total_matches", "recipients_valid", "hash_valid")),
        ("recipients", [], ("hash_valid",)),
        ("split_config", {}, ("hash_valid",)),
    ],
)
def test_a_changed_record_does_not_verify(member: str, value: object, holds: tuple[str, ...]) -> None:
    terms = Terms("run_1", 100, WALLETS)
    split = record_of(terms, share_out(100, DEFAULT_SPLIT, WALLETS, treasury=TREASURY), timestamp=1)
    changed = jcs({**json.loads(split.record), member: value})
    rehashed = verify(Split("run_1", changed, hashlib.sha256(changed).digest()))
    assert {name for name in ("total_matches", "recipients_valid", "hash_valid") if getattr(rehashed, name)} == set(
        holds
    )
    assert not verify(Split("run_1", changed, split.payout_hash)).valid


@pytest.mark.parametrize("parts", [(7000, 2000, 0, 999), (7000, 2000, 1000, 1000), (11_000, -1000, 0, 0)])
def test_a_config_that_is_not_the_whole_is_refused(parts: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput):
        share_out(100, SplitConfig(*parts), WALLETS, treasury=TREASURY)


@pytest.mark.parametrize("total", [-1, MOST_LAMPORTS + 1])
def test_an_amount_out_of_bounds_is_refused(total: int) -> None:
    with pytest.raises(InvalidInput):
        share_out(total, DEFAULT_SPLIT, WALLETS, treasury=TREASURY)


def test_a_missing_wallet_is_the_treasury_in_the_same_role() -> None:
    config = SplitConfig(7000, 2000, 1000, 0)
    shares = share_out(100, config, Wallets("c"), treasury=TREASURY)
    assert [(share.role, share.wallet) for share in shares] == [
        (Role.COMPUTE, "c"),
        (Role.MODEL, TREASURY),
        (Role.ORCHESTRATOR, TREASURY),
    ]


def test_without_a_treasury_whatever_would_go_there_is_refused() -> None:
    named = SplitConfig(7000, 2000, 1000, 0)
    assert len(share_out(100, named, WALLETS, treasury="")) == 3
    with pytest.raises(TreasuryMissing, match="protocol"):
        share_out(101, named, WALLETS, treasury="")  # the floors leave one lamport
    with pytest.raises(TreasuryMissing, match="model_wallet"):
        share_out(100, named, Wallets("c", None, "o"), treasury="")
    with pytest.raises(TreasuryMissing):
        share_out(100, DEFAULT_SPLIT, WALLETS, treasury="")


def test_what_was_asked_for_differs_by_every_part_of_it() -> None:
    asked = [
        Terms("r", 100, WALLETS),
        Terms("r", 101, WALLETS),
        Terms("r", 100, Wallets("c", "m")),
        Terms("r", 100, Wallets("c", None, "m")),
        Terms("r", 100, WALLETS, SplitConfig(7000, 2000, 1000, 0)),
    ]
    assert len({asked_hash(terms) for terms in asked}) == len(asked)
