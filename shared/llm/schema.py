"""Reading a model's structured answer, strictly: it is foreign text that claims to be JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import jsonschema

from shared.llm.model import UnreadableAnswer

MAX_ANSWER_CHARS = 256 * 1024
_DEEPEST = 64
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LARGEST = 2**63 - 1


def parse_answer(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object in `text` if it is valid under `schema`. Raises `UnreadableAnswer`.

    Refused: anything around the object, duplicate keys, NaN and infinities, numbers beyond 64 bits, strings that
    PostgreSQL can't hold (NUL, lone surrogates), more than 64 levels or 256 Ki characters, and what the schema does not
    allow. The schema is ours and taken as sound. The error's `detail` names the fault, never the answer's own words.
    """
    if len(text) > MAX_ANSWER_CHARS:
        raise UnreadableAnswer(detail="the answer is too long")
    try:
        answer = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(detail=f"not strict JSON: {type(error).__name__}") from error
    if not isinstance(answer, dict):
        raise UnreadableAnswer(detail="not a JSON object")
    _check_values(answer, 1)
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(answer))
    if fault is not None:
        where = "/".join(str(part) for part in fault.schema_path)
        raise UnreadableAnswer(detail=f"against the schema at {where}")
    return answer


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _check_values(value: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise UnreadableAnswer(detail="nested too deeply")
    match value:
        case str() if _UNSTORABLE.search(value):
            raise UnreadableAnswer(detail="a string that can't be stored")
        case int() if abs(value) > _LARGEST:
            raise UnreadableAnswer(detail="a number beyond 64 bits")
        case dict():
            for key, part in value.items():
                _check_values(key, depth)
                _check_values(part, depth + 1)
        case list():
            for part in value:
                _check_values(part, depth + 1)
