"""A policy: what a caller demands of the run and of where it happens. Read strictly, because what is not enforced is refused.

The shape is the gateway contract's (version "1.0"). Unknown members are refused at every level: one that was let through
would be a promise that nobody keeps. The hash is over the policy as supplied; defaults are not filled in first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from shared.kernel.canonical_json import NotCanonical, jcs
from shared.kernel.errors import Unprocessable

Value = TypeVar("Value")

VERSION = "1.0"
DEFAULT: Mapping[str, Any] = {"policy_version": VERSION}
MOST_REGIONS = 256
LONGEST_REGION = 128
BOUND = 2**53
"""Numbers stay below it: above, JSON readers disagree about them (RFC 7493), and RFC 8785 has no form for the integers."""


class InvalidPolicy(Unprocessable):
    """The policy is not one. `field` names the place, as the caller wrote it."""

    code = "INVALID_POLICY"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a caller demands. Times in milliseconds; None: no such demand."""

    policy_version: str = VERSION
    allow_regions: tuple[str, ...] = ()
    residency_required: bool = False
    attestation_required: bool = False
    require_cc_on: bool = False
    fallback_allowed: bool = True
    p95_ms_budget: int | None = None
    hard_timeout_ms: int | None = None
    max_price_per_1k_tokens_usd: Decimal | None = None
    spot_only: bool = False
    store_inputs: bool = True
    redact_pii: bool = False


def parse_policy(raw: object) -> Policy:
    """Return the policy that `raw`, JSON values, states; None is the default one. Raises `InvalidPolicy`."""
    members = _Members(DEFAULT if raw is None else raw, "policy")
    if members.take("policy_version", _text) != VERSION:
        raise InvalidPolicy(f'policy.policy_version must be "{VERSION}"', field="policy.policy_version")
    attestation = members.group("attestation")
    latency, cost, privacy = members.group("latency"), members.group("cost"), members.group("privacy")
    policy = Policy(
        allow_regions=members.take("allow_regions", _regions) or (),
        residency_required=members.take("residency_required", _boolean) or False,
        attestation_required=attestation.take("attestation_required", _boolean) or False,
        require_cc_on=attestation.take("require_cc_on", _boolean) or False,
        fallback_allowed=attestation.take("fallback_allowed", _boolean) is not False,
        p95_ms_budget=latency.take("p95_ms_budget", _milliseconds),
        hard_timeout_ms=latency.take("hard_timeout_ms", _milliseconds),
        max_price_per_1k_tokens_usd=cost.take("max_price_per_1k_tokens_usd", _dollars),
        spot_only=cost.take("spot_only", _boolean) or False,
        store_inputs=privacy.take("store_inputs", _boolean) is not False,
        redact_pii=privacy.take("redact_pii", _boolean) or False,
    )
    for group in (members, attestation, latency, cost, privacy):
        group.refuse_others()
    return policy


def policy_hash(raw: object) -> bytes:
    """Return SHA-256 over the RFC 8785 form of `raw` as supplied; None hashes as the default. Raises `InvalidPolicy`."""
    try:
        return hashlib.sha256(jcs(_plain(DEFAULT if raw is None else raw))).digest()
    except NotCanonical as fault:
        raise InvalidPolicy(f"policy: {fault.message}", field="policy") from None


class _Members:
    """One object of the policy: what is taken is known, what is left over is refused."""

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, Mapping):
            raise InvalidPolicy(f"{place} must be an object", field=place)
        self._left = dict(value)
        self._place = place

    def take(self, name: str, reader: Callable[[object, str], Value]) -> Value | None:
        """Return the member read, or None where it is absent; null is not absent."""
        if name not in self._left:
            return None
        return reader(self._left.pop(name), f"{self._place}.{name}")

    def group(self, name: str) -> _Members:
        """Return the members of the object `name`; an absent one has none."""
        return _Members(self._left.pop(name, {}), f"{self._place}.{name}")

    def refuse_others(self) -> None:
        """Raise `InvalidPolicy` if anything was not taken."""
        for name in self._left:
            shown = name if isinstance(name, str) and name.isidentifier() and len(name) <= LONGEST_REGION else "?"
            place = f"{self._place}.{shown}"
            raise InvalidPolicy(f"{place} is not a member of a policy, and nothing would enforce it", field=place)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise InvalidPolicy(f"{place} must be a string", field=place)
    return value


def _boolean(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidPolicy(f"{place} must be true or false", field=place)
    return value


def _regions(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidPolicy(f"{place} must be a list of strings", field=place)
    if len(value) > MOST_REGIONS:
        raise InvalidPolicy(f"{place} holds more than {MOST_REGIONS} regions", field=place)
    regions = tuple(_text(region, f"{place}.{index}") for index, region in enumerate(value))
    for index, region in enumerate(regions):
        if not 0 < len(region) <= LONGEST_REGION:
            at = f"{place}.{index}"
            raise InvalidPolicy(f"{at} must have 1 to {LONGEST_REGION} characters", field=at)
    return regions


def _milliseconds(value: object, place: str) -> int:
    number = _number(value, place)
    if number != number.to_integral_value() or number < 1:  # 30000.0 is an integer to JSON Schema, and hashes as 30000
        raise InvalidPolicy(f"{place} must be a whole number of milliseconds, 1 or more", field=place)
    return int(number)


def _dollars(value: object, place: str) -> Decimal:
    number = _number(value, place)
    if number < 0:
        raise InvalidPolicy(f"{place} must be 0 or more", field=place)
    return number.copy_abs()  # minus zero is zero


def _number(value: object, place: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidPolicy(f"{place} must be a number", field=place)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or number.copy_abs() >= BOUND:
        raise InvalidPolicy(f"{place} must be finite and below 2^53", field=place)
    return number


def _plain(value: object) -> object:
    """Turn decimals into the doubles that RFC 8785 prints; the rest stays."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value
