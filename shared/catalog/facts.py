"""Metadata read into the facts that matching asks about. Its shape is checked before, by the schemas; what is odd is not stated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from shared.catalog.matching import LONGEST_NAME, ComputeFacts, ModelFacts

SPOT = "spot"
MOST_NAMES = 256
MOST_GPU_CLASSES = 64
_CENTS = "usd_cents"
_DOLLARS = (None, "usd", "USD")


def model_facts(meta: Mapping[str, Any], *, passport_id: str | None = None, names: Iterable[str] = ()) -> ModelFacts:
    """Return what a ModelMeta says that the model needs. `passport_id` outranks the metadata's; `names`: further ones of the model."""
    needs = _object(meta, "requirements")
    given = passport_id or _text(meta, "model_passport_id") or ""
    known = (_text(meta, name) for name in ("api_model_id", "provider_model_id"))
    return ModelFacts(
        passport_id=given,
        runtime=_text(meta, "runtime_recommended"),
        names=frozenset({given, *names, *(name for name in known if name)}),
        min_vram_gb=_count(needs, "min_vram_gb") or 0,
        context_length=_count(meta, "context_length") or 0,
        gpu_classes=_texts(needs, "gpu_classes")[:MOST_GPU_CLASSES],
        cuda_min=_text(needs, "cuda_min"),
    )


def compute_facts(meta: Mapping[str, Any]) -> ComputeFacts:
    """Return what a ComputeMeta declares of its node.

    Where the schema has no member, `metadata` may state it: `models` (what it serves: passport ids or names) and `cuda`. Spot
    capacity is the policy tag "spot". A price in lamports or credits is not stated in dollars, so it counts as unknown.
    """
    hardware, capabilities, more = (_object(meta, name) for name in ("hardware", "capabilities", "metadata"))
    runtimes = meta.get("runtimes")
    named = runtimes if isinstance(runtimes, list) else []
    return ComputeFacts(
        regions=_texts(meta, "regions"),
        runtimes=tuple(name for runtime in named if isinstance(runtime, Mapping) and (name := _text(runtime, "name"))),
        models=frozenset(_texts(more, "models")) if "models" in more else None,
        gpu=_text(hardware, "gpu") or "",
        vram_gb=_count(hardware, "vram_gb") or 0,
        cuda=_text(more, "cuda"),
        max_context=_count(_object(meta, "limits"), "max_context") or 0,
        residency_supported=meta.get("residency_supported") is True,
        supports_attestation=capabilities.get("supports_attestation") is True,
        supports_cc_on=capabilities.get("supports_cc_on") is True,
        supports_spot=SPOT in _texts(meta, "policy_tags"),
        price=_price(_object(meta, "pricing")),
        p95=_count(_object(meta, "network"), "p95_ms_estimate"),
    )


def _price(pricing: Mapping[str, Any]) -> Decimal | None:
    """Return dollars per 1000 tokens: as stated, else 1000 times the dearer of the prices for one token."""
    currency = pricing.get("currency")
    if currency not in (*_DOLLARS, _CENTS):
        return None
    per_token = [
        price for name in ("per_input_token", "per_output_token") if (price := _number(pricing, name)) is not None
    ]
    stated = _number(pricing, "price_per_1k_tokens_estimate")
    price = stated if stated is not None else max(per_token, default=None)
    if price is None:
        return None
    return price * (1 if stated is not None else 1000) / (100 if currency == _CENTS else 1)


def _object(meta: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = meta.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(meta: Mapping[str, Any], name: str) -> str | None:
    value = meta.get(name)
    return value if isinstance(value, str) and value else None


def _texts(meta: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = meta.get(name)
    found = value[:MOST_NAMES] if isinstance(value, list) else []
    return tuple(text for text in found if isinstance(text, str) and len(text) <= 2 * LONGEST_NAME)


def _count(meta: Mapping[str, Any], name: str) -> int | None:
    number = _number(meta, name)
    return int(number) if number is not None else None


def _number(meta: Mapping[str, Any], name: str) -> Decimal | None:
    value = meta.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return number if number.is_finite() and number >= 0 else None
