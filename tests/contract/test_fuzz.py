"""Generated requests against the served documents: what is declared comes back, nothing else, and never a server error.

A sample here; the full count where LUCID_SOAK is set.
"""

from __future__ import annotations

import contextlib
import os

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.schemas import APIOperation

from tests.contract.test_fuzz_contract import PATIENCE_S, caller, waiting

EXAMPLES = 2000 if os.environ.get("LUCID_SOAK") else 20
CHECKED = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# 501 and 503 are declared where they are meant; these mean that something of ours broke.
UNEXPECTED = (500, 502, 504)
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(("document", "base"), [("/api/openapi.json", "/api"), ("/openapi.json", "")])
def test_every_operation_answers_only_what_it_declares(
    web_url: str, document: str, base: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(web_url + document)
    tried = [_fuzz(operation.ok(), base_url=web_url + base, mode=mode) for operation in schema.get_all_operations()]
    assert tried


def _fuzz(operation: APIOperation, *, base_url: str, mode: GenerationMode) -> str:
    checks = [CHECKS.get_one(name) for name in CHECKED]
    name = operation.definition.raw["operationId"]

    @FUZZ
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case) -> None:
        if name in waiting:
            return
        try:
            answer = case.call(base_url=base_url, session=session, timeout=PATIENCE_S)
        except requests.ReadTimeout:
            waiting.add(name)
            return
        assert answer.status_code not in UNEXPECTED, case.as_curl_command()
        case.validate_response(answer, checks=checks)

    with caller() as session, contextlib.suppress(Unsatisfiable):  # without parameters it cannot be called wrongly
        run()
    return operation.label
