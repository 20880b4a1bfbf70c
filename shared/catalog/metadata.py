"""A passport's metadata: whether it has the shape of its type, what it hashes to, and the id that it must name itself by.

The shapes are JSON Schemas of our own beside this module, written from the gateway contract's components and widened where a
later version of them, or a runtime that we run on, says more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from shared.catalog.addresses import require_web_address
from shared.catalog.model import PassportType
from shared.kernel.canonical_json import jcs
from shared.kernel.errors import InvalidInput, Unprocessable

MOST_BYTES = 65_536
DEEPEST = 24
SCHEMA_FAULT = "SCHEMA_VALIDATION_FAILED"
_FOLDER = Path(__file__).with_name("schemas")
_LONGEST_MESSAGE = 300
_WITH_SCHEMA = frozenset(
    {PassportType.MODEL, PassportType.COMPUTE, PassportType.TOOL, PassportType.DATASET, PassportType.AGENT}
)
_ADDRESSES = {
    PassportType.COMPUTE: ("endpoints", "inference_url"),
    PassportType.MODEL: ("endpoints", "openai_compat_base_url"),
}


def id_member(type: PassportType) -> str:  # noqa: A002 - the API's word
    """Return the member by which metadata of this type names its passport."""
    return f"{type}_passport_id"


def require_sound(type: PassportType, metadata: Mapping[str, Any], *, at: str = "metadata") -> None:  # noqa: A002
    """Raise `InvalidInput` that names the place and the fault; `Unprocessable` where the passport's id has no place in it.

    The types without a schema of their own may hold anything, within bounds.
    """
    _require_bounded(metadata, at)
    if type in _WITH_SCHEMA:
        if id_member(type) not in metadata:
            place = f"{at}.{id_member(type)}"
            raise Unprocessable(
                f"{place} is missing: give any 10 characters, the passport's id takes their place", field=place
            )
        _require_shape(type, metadata, at)
    _require_addresses(type, metadata, at)


def is_sound(type: PassportType, metadata: Mapping[str, Any]) -> bool:  # noqa: A002
    """Tell whether metadata has the shape of its type."""
    return type not in _WITH_SCHEMA or _validator(type).is_valid(metadata)


def named(type: PassportType, metadata: Mapping[str, Any], passport_id: str) -> dict[str, Any]:  # noqa: A002
    """Return the metadata with the passport's id in its place; a type without a schema gets it only where it has the place."""
    member = id_member(type)
    return {**metadata, member: passport_id} if type in _WITH_SCHEMA or member in metadata else dict(metadata)


def hash_of(metadata: Mapping[str, Any]) -> bytes:
    """Return SHA-256 over the RFC 8785 form. Raises `NotCanonical`, an `InvalidInput`."""
    return hashlib.sha256(jcs(metadata)).digest()


def _require_bounded(metadata: Mapping[str, Any], at: str) -> None:
    waiting: list[tuple[Any, int]] = [(metadata, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise InvalidInput(f"{at} is nested deeper than {DEEPEST} levels", field=at)
        members = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        waiting.extend((member, depth + 1) for member in members)
    try:
        size = len(jcs(metadata))
    except InvalidInput as fault:
        raise InvalidInput(f"{at}: {fault.message}", field=at) from None
    if size > MOST_BYTES:
        raise InvalidInput(f"{at} is larger than {MOST_BYTES} bytes", field=at)


def _require_shape(type: PassportType, metadata: Mapping[str, Any], at: str) -> None:  # noqa: A002
    fault = best_match(_validator(type).iter_errors(metadata))
    if fault is not None:
        place = ".".join([at, *(str(part) for part in fault.absolute_path), *_missing(fault)])
        raise InvalidInput(f"{place}: {fault.message[:_LONGEST_MESSAGE]}", field=place, code=SCHEMA_FAULT)


def _require_addresses(type: PassportType, metadata: Mapping[str, Any], at: str) -> None:  # noqa: A002
    group, member = _ADDRESSES.get(type, ("", ""))
    holder = metadata.get(group)
    address = holder.get(member) if isinstance(holder, Mapping) else None
    if isinstance(address, str):
        require_web_address(address, field=f"{at}.{group}.{member}", is_base=True)


def _missing(fault: ValidationError) -> list[str]:
    """Return the member that a `required` misses: the place where it should have stood."""
    if (
        fault.validator != "required"
        or not isinstance(fault.instance, Mapping)
        or not isinstance(fault.schema, Mapping)
    ):
        return []
    return [str(name) for name in fault.schema["required"] if name not in fault.instance][:1]


@cache
def _validator(type: PassportType) -> Draft202012Validator:  # noqa: A002
    return Draft202012Validator(json.loads((_FOLDER / f"{type}.json").read_text(encoding="utf-8")))
