"""Canonical JSON: the strict receipt profile, and plain RFC 8785 for what others define (policies).

The strict profile admits objects with ASCII keys, arrays, strings, booleans and integers below 2^53. Inside it, sorted
`json.dumps` is byte-identical to RFC 8785 (a property test holds it to that), so two implementations cannot disagree
about how a number prints or a key sorts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import rfc8785

from shared.kernel.errors import InvalidInput

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | bool"

INT_BOUND = 2**53
MAX_DEPTH = 32


class NotCanonical(InvalidInput):
    """The value or text lies outside the strict profile. The message names the place, never the value; odd keys read `?`."""

    code = "not_canonical"


def canonical_bytes(value: object) -> bytes:
    """Return the one encoding of `value` under the strict profile (RFC 8785, UTF-8).

    Raises `NotCanonical` for floats, nulls, integers of 2^53 and more, keys that are not ASCII strings, lone surrogates
    and nesting beyond 32 levels.
    """
    _admit(value, "$", 0)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def parse_strict(data: bytes) -> Json:
    """Read JSON text of the strict profile; the text itself need not be in canonical form.

    Raises `NotCanonical` also for duplicate keys, which `json.loads` would settle silently, and for bytes that are not
    UTF-8 JSON at all.
    """
    try:
        value: Json = json.loads(
            data.decode(),
            object_pairs_hook=_unique_keys,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except NotCanonical:
        raise
    except RecursionError:
        raise NotCanonical("nesting is too deep") from None
    except ValueError:  # not UTF-8, not JSON, or an integer of absurd length
        raise NotCanonical("not UTF-8 JSON") from None
    _admit(value, "$", 0)
    return value


def jcs(value: object) -> bytes:
    """Return the RFC 8785 form of any JSON value, floats and nulls included: for policies and foreign schemas.

    Raises `NotCanonical` for what RFC 8785 cannot express (NaN, integers of 2^53 and more, lone surrogates).
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as fault:
        raise NotCanonical(f"no RFC 8785 form: {type(fault).__name__}") from None


def _admit(value: object, place: str, depth: int) -> None:
    if depth == MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        raise NotCanonical(f"{place}: nesting is too deep")
    if isinstance(value, Mapping):
        for key, member in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise NotCanonical(f"{place}: keys must be ASCII strings")
            _admit(member, f"{place}.{key if key.isidentifier() else '?'}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            _admit(member, f"{place}[{index}]", depth + 1)
    else:
        _admit_scalar(value, place)


def _admit_scalar(value: object, place: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotCanonical(f"{place}: a string holds a lone surrogate") from None
    elif not isinstance(value, int):  # a bool is an int, and within its bound
        raise NotCanonical(f"{place}: {type(value).__name__} is not allowed")
    elif not -INT_BOUND < value < INT_BOUND:
        raise NotCanonical(f"{place}: an integer must be smaller than 2^53")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotCanonical("an object repeats a key")
    return members


def _no_float(_text: str) -> NoReturn:
    raise NotCanonical("floats are not allowed: use an integer or a decimal string")
