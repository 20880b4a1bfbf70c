"""Generated requests against the served documents: what is declared comes back, nothing else, and never a server error.

A sample here; the full count where LUCID_SOAK is set.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.schemas import APIOperation

from shared.access.model import Scope
from shared.bootstrap import Container
from tests.contract.pipelines_caller import KeyRing
from tests.contract.test_fuzz_contract import PATIENCE_S, caller, can_be_wrong, waiting

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
EXAMPLES = 400 if IS_SOAK else 5
NOT_BUILT_EXAMPLES = 20 if IS_SOAK else 1
"""Of an operation that all the same answers 501."""
CHECKED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# 501 and 503 are declared where they are meant; these mean that something of ours broke.
UNEXPECTED = (500, 502, 504)
Operation = APIOperation[Any, Any, Any, Any]
SIDES = (("/api/openapi.json", "/api"), ("/openapi.json", ""), ("/api/v1/openapi.json", ""))


def bounds(operation: Operation) -> settings:
    is_built = set(operation.definition.raw["responses"]) != {"501"}
    return settings(
        max_examples=EXAMPLES if is_built else NOT_BUILT_EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(("document", "base"), SIDES)
def test_every_operation_answers_only_what_it_declares(
    web_url: str, container: Container, document: str, base: str, mode: GenerationMode
) -> None:
    """Where there are keys, with one that opens everything: whoever is not let in finds no fault behind the door."""
    schema: Any = schemathesis.openapi.from_url(web_url + document)
    schema.config.generation.with_security_parameters = bool(base)
    keys = None if base else KeyRing(container, scopes=frozenset(Scope))
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation.definition.raw):
            continue
        _fuzz(operation, base_url=web_url + base, mode=mode, keys=keys)


def _fuzz(operation: Operation, *, base_url: str, mode: GenerationMode, keys: KeyRing | None) -> None:
    checks: list[Any] = [CHECKS.get_one(name) for name in CHECKED]
    name = operation.definition.raw["operationId"]

    @bounds(operation)
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        if name in waiting:
            return
        try:
            answer = case.call(base_url=base_url, session=session, timeout=PATIENCE_S)
        except requests.ReadTimeout:
            waiting.add(name)
            return
        assert answer.status_code not in UNEXPECTED, case.as_curl_command()
        case.validate_response(answer, checks=checks)

    with caller(keys) as session, contextlib.suppress(Unsatisfiable):  # without parameters it cannot be called wrongly
        run()
