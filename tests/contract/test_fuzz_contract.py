"""Generated requests against the contracts themselves, one by one and in chains: what comes back is promised somewhere.

An answer is promised by the contract, by `docs/supersets.md`, or by `docs/not-built.md`, in this order; the chains also run over the
documents that the service serves, which are always here. A sample; 20,000 requests a contract where LUCID_SOAK is set.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from requests.adapters import HTTPAdapter
from schemathesis import Case, GenerationMode
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from shared.bootstrap import Container
from tests.contract import pipelines_page
from tests.contract.conftest import ROOT, contract
from tests.contract.document_comparison import operations
from tests.contract.pipelines_caller import KeyRing
from tests.contract.supersets import SUPERSETS, declared_supersets
from web.problems import Door, door_of

IS_SOAK = bool(os.environ.get("LUCID_SOAK"))
SOAK_CASES = 20_000
SOAK_SERVED = 2000
SOAK_SHARE = SOAK_CASES // 2
"""What each mode asks of a contract's operations together; what these do not use up, the chains do."""
ROUNDS, CHAINS, STEPS = 2, 3, 8
PATIENCE_S = 10.0
AT_LEAST = 10
"""Operations that a soak's requests are shared among, even where a contract has but one."""
NOT_BUILT_SHARE = 4
"""One in so many of the operations that all answer 501 is asked, where it is a sample."""
LINE = re.compile(r"^\| [A-Z]+ \| `[^`]+` \| `(\w+)` \|", re.MULTILINE)
EVERYWHERE = re.compile(r"^\| ([0-9, ]+) \|[^|]*\bevery (?:address|path) \|", re.MULTILINE)
CONFORMING = [content_type_conformance, response_headers_conformance, response_schema_conformance]


@dataclass(frozen=True)
class Source:
    """A document to hold the service to. `served_at`: its address, where it is our own; else it is a file of the contracts.

    `needs_key`: nobody is let in without one.
    """

    name: str
    base: str = ""
    served_at: str | None = None
    needs_key: bool = False


CONTRACTS = (
    Source("agent-jobs.openapi.yaml", base="/api"),
    Source("lucidlayer-full.openapi.yaml"),
    Source("lucidlayer.openapi.yaml"),
    Source(pipelines_page.NAME, needs_key=True),
)
SERVED = (
    Source("the agent's own", base="/api", served_at="/api/openapi.json"),
    Source("the gateway's own", served_at="/openapi.json"),
    Source("the pipelines' own", served_at="/api/v1/openapi.json", needs_key=True),
)
tried: Counter[str] = Counter()
"""Requests by document. The chains, which come last, fill a soak up to its number."""

waiting: set[str] = set()
"""Operations that wait for work which no process of this stack does: asked once, since each asking takes all patience."""


class Promises:
    """Which statuses an operation may answer with."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._declared = {
            operation["operationId"]: {int(code) for code in operation["responses"]}
            for _, _, operation in operations(document)
        }
        for code, name in declared_supersets():
            if name in self._declared:
                self._declared[name].add(int(code))
        self._not_built = set(LINE.findall((ROOT / "docs" / "not-built.md").read_text(encoding="utf-8")))
        self._everywhere = {int(code) for codes in EVERYWHERE.findall(SUPERSETS) for code in codes.split(",")}

    @property
    def size(self) -> int:
        """Return how many operations there are."""
        return len(self._declared)

    def is_built(self, name: str) -> bool:
        """Tell whether the operation is."""
        return name not in self._not_built

    def of(self, name: str) -> set[int]:
        """Return the statuses of an operation; what is not built answers 501, and nothing that would pass for the real thing."""
        return self._everywhere | (self._declared[name] if self.is_built(name) else {501})


class Loopback(HTTPAdapter):
    """Sends from an address of its own, so that no limit of an address is met, nor used up for the other tests."""

    _numbers = count(2 * 250)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Bind what requests would leave to the system."""
        third, fourth = divmod(next(self._numbers), 250)
        super().init_poolmanager(*arguments, source_address=(f"127.0.{third}.{fourth + 2}", 0), **options)


def caller(keys: KeyRing | None) -> requests.Session:
    """Return somebody to call with, who shows `keys`."""
    session = requests.Session()
    session.mount("http://", Loopback())
    session.auth = keys
    return session


class Judge:
    """Sends a document's cases to the service and holds each answer against what is promised."""

    def __init__(self, source: Source, document: dict[str, Any], *, web_url: str, container: Container) -> None:
        self.source = source
        self._keys = KeyRing(container) if source.needs_key else None
        self.promises = Promises(document)
        self.base_url = web_url + source.base
        self.broken: list[str] = []
        """What was found, kept apart from the search: a chain that is not the same twice can lose its failure."""

    def caller(self) -> requests.Session:
        """Return somebody to call with."""
        return caller(self._keys)

    def ask(self, case: Case[Any], session: requests.Session) -> None:
        """Send `case` and check the answer."""
        name = case.operation.definition.raw["operationId"]
        if name not in waiting:
            try:
                answer = case.call(base_url=self.base_url, session=session, timeout=PATIENCE_S)
            except requests.ReadTimeout:
                waiting.add(name)
            else:
                self.check(case, answer)

    def check(self, case: Case[Any], answer: Response) -> None:
        """Raise where `answer` breaks a promise."""
        tried[self.source.name] += 1
        try:
            self._check(case, answer)
        except BaseException as fault:
            self.broken.append(f"{fault}")
            raise

    def _check(self, case: Case[Any], answer: Response) -> None:
        raw = case.operation.definition.raw
        at = f"{answer.status_code} {answer.content[:300]!r} to {case.as_curl_command()[:2000]}"
        assert answer.status_code in self.promises.of(raw["operationId"]), at
        assert "html" not in answer.headers.get("content-type", ["?"])[0], at
        if answer.status_code == 500:
            assert door_of(answer.request.path_url) in (Door.AGENT, Door.VERIFICATION), at
            assert answer.headers.get("retry-after"), at  # a deadline that passed, not a fault
        if (
            answer.status_code >= 400 and door_of(answer.request.path_url) is Door.OPENAI
        ):  # by what its clients know, not the contract
            assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}, at
        elif str(answer.status_code) in raw["responses"]:
            case.validate_response(answer, checks=CONFORMING)
        else:
            assert set(answer.json()) >= {"error", "request_id"}, at


def load(source: Source, web_url: str) -> dict[str, Any]:
    if source.served_at is not None:
        served: dict[str, Any] = httpx.get(web_url + source.served_at).json()
        return served
    return pipelines_page.document() if source.name == pipelines_page.NAME else contract(source.name)


def limits(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=not IS_SOAK,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


def can_be_wrong(raw: dict[str, Any]) -> bool:
    """Tell whether anything but text in the path is asked for: any text is a text, and a path is never without it."""
    asked = [parameter for parameter in raw.get("parameters", []) if parameter.get("in") != "path"]
    return bool(asked) or "requestBody" in raw


def examples_of(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, judge: Judge, *, turn: int) -> int:
    """Return how many requests an operation is worth."""
    if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation.definition.raw):
        return 0
    if IS_SOAK:
        return SOAK_SHARE // max(judge.promises.size, AT_LEAST) + 1
    if judge.promises.is_built(operation.definition.raw["operationId"]):
        return 4
    return int(turn % NOT_BUILT_SHARE == 0)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize("source", CONTRACTS, ids=lambda source: source.name)
def test_every_operation_of_a_contract_answers_what_is_promised(
    web_url: str, container: Container, source: Source, mode: GenerationMode
) -> None:
    document = load(source, web_url)
    judge = Judge(source, document, web_url=web_url, container=container)
    results: list[Any] = list(schemathesis.openapi.from_dict(document).get_all_operations())
    found = [result.ok() for result in results]
    assert found
    for turn, operation in enumerate(found):
        examples = examples_of(operation, mode, judge, turn=turn)
        if examples:
            with judge.caller() as session:
                _fuzz(operation, mode, limits(examples), lambda case: judge.ask(case, session))


def _fuzz(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    bounds: settings,
    check: Callable[[Case[Any]], None],
) -> None:
    @bounds
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Case[Any]) -> None:
        check(case)

    with contextlib.suppress(Unsatisfiable):  # there is no wrong way to call it
        run()


@pytest.mark.parametrize("source", [*CONTRACTS[:2], *SERVED], ids=lambda source: source.name)
def test_every_chain_of_operations_answers_what_is_promised(web_url: str, container: Container, source: Source) -> None:
    """Later requests take ids and other values from earlier answers, along the links that the document's shapes suggest."""
    document = load(source, web_url)
    judge = Judge(source, document, web_url=web_url, container=container)
    machine: Any = chained(schemathesis.openapi.from_dict(document), judge)
    enough = SOAK_CASES if source in CONTRACTS else SOAK_SERVED
    for number in count():
        if tried[source.name] >= enough if IS_SOAK else number >= ROUNDS:
            break
        with contextlib.suppress(
            FlakyStrategyDefinition, requests.ReadTimeout
        ):  # times and ids in answers are not the same twice
            seed(number)(machine).run(settings=limits(CHAINS))
        assert judge.broken == []
    print(f"{source.name}: {tried[source.name]} requests; unanswered in {PATIENCE_S} s: {sorted(waiting)}")  # with -s
    assert tried[source.name]


def chained(schema: Any, judge: Judge) -> type[Any]:
    class Machine(schema.as_state_machine()):  # type: ignore[misc] # made from the document
        """One chain, from one caller."""

        def setup(self) -> None:
            """Begin."""
            self.session = judge.caller()

        def teardown(self) -> None:
            """End."""
            self.session.close()

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:  # noqa: ARG002 - schemathesis's signature
            """Return what a call takes besides its case."""
            return {"base_url": judge.base_url, "session": self.session, "timeout": PATIENCE_S}

        def validate_response(self, response: Response, case: Case[Any], *_more: Any, **_options: Any) -> None:
            """Hold the answer against what is promised."""
            judge.check(case, response)

    return Machine
