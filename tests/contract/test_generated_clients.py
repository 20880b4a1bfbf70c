"""A client generated from a served document compiles, and calls every operation with the least that it takes."""

from __future__ import annotations

import compileall
import importlib
import inspect
import json
import subprocess
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.access.model import Mode, Scope, Tier
from shared.bootstrap import Container
from tests.contract.document_comparison import operations, resolved
from tests.contract.minimal_requests import MESSAGES, request_for

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
PATIENCE_S = 40.0
REFUSALS = frozenset({501, 503})
"""The only server errors there may be; for what, other tests ask."""


@dataclass(frozen=True)
class Side:
    """A document, and the package that a client of it is generated as."""

    path: str
    base: str
    package: str


SIDES = (Side("/openapi.json", "", "generated_gateway"), Side("/api/openapi.json", "/api", "generated_agent"))


@pytest.fixture(params=SIDES, ids=lambda side: side.package)
def side(request: pytest.FixtureRequest) -> Side:
    return typing.cast("Side", request.param)


@pytest.fixture
def document(web_url: str, side: Side) -> dict[str, Any]:
    return dict(httpx.get(web_url + side.path).json())


@pytest.fixture
def generated(
    tmp_path: Path, document: dict[str, Any], side: Side, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ModuleType]:
    """Yield the package of a client that was generated from the document, compiled and imported."""
    (tmp_path / "document.json").write_text(json.dumps(document), encoding="utf-8")
    names = f"post_hooks: []\nproject_name_override: {side.package}\npackage_name_override: {side.package}\n"
    (tmp_path / "names.yml").write_text(names, encoding="utf-8")
    made = tmp_path / "made"
    command: list[str | Path] = [
        GENERATOR,
        "generate",
        "--path",
        "document.json",
        "--config",
        "names.yml",
        "--output-path",
        made,
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "WARNING" not in (told := ran.stdout + ran.stderr), told
    assert compileall.compile_dir(made, quiet=1)
    monkeypatch.syspath_prepend(str(made))
    yield importlib.import_module(side.package)
    for name in [name for name in sys.modules if name.partition(".")[0] == side.package]:
        del sys.modules[name]


def functions_of(package: ModuleType) -> dict[str, ModuleType]:
    """Return the module of every operation, by its name without case and underscores."""
    root = Path(str(package.__file__)).parent
    found = {}
    for path in root.glob("api/*/[a-z]*.py"):
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        found[path.stem.replace("_", "")] = importlib.import_module(name)
    return found


def test_every_operation_is_called_through_it(
    generated: ModuleType, document: dict[str, Any], side: Side, web_url: str, container: Container
) -> None:
    key = container.api_keys.create(mode=Mode.TEST, tier=Tier.TEAM, scopes=frozenset(Scope)).text
    functions, faults, called = functions_of(generated), [], 0
    with generated.AuthenticatedClient(
        base_url=web_url + side.base, token=key, raise_on_unexpected_status=True, timeout=httpx.Timeout(PATIENCE_S)
    ) as client:
        for method, path, operation in operations(resolved(document, document)):
            module = functions[operation["operationId"].replace("_", "").lower()]
            body = request_for(method, path, operation, values={"messages": MESSAGES}).body
            try:
                answer = module.sync_detailed(client=client, **arguments_of(module, body))
            except (generated.errors.UnexpectedStatus, KeyError, TypeError, ValueError) as fault:
                faults.append(f"{operation['operationId']}: {type(fault).__name__}: {fault}"[:500])
            else:
                called += 1
                if answer.status_code >= 500 and answer.status_code not in REFUSALS:
                    faults.append(f"{operation['operationId']}: {answer.status_code}")
    assert faults == []
    assert called == len(functions)


def arguments_of(module: ModuleType, body: Any) -> dict[str, Any]:
    """Return what `sync_detailed` cannot do without, and the body."""
    hints = typing.get_type_hints(module.sync_detailed)
    signature = inspect.signature(module.sync_detailed).parameters
    arguments = {
        name: value_of(hints[name])
        for name, parameter in signature.items()
        if parameter.default is inspect.Parameter.empty and name not in ("client", "body")
    }
    if "body" in signature:
        model = next(kind for kind in (hints["body"], *typing.get_args(hints["body"])) if hasattr(kind, "from_dict"))
        arguments["body"] = model.from_dict(body)
    return arguments


def value_of(kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if kind is UUID:
        return UUID(int=7)
    return kind(1) if kind in (int, float) else "0" * 64
