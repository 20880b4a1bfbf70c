"""What `docs/supersets.md` says of status codes, and the documents as they are served, which it is held against."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from flask import Flask

from config.settings import Settings
from shared.bootstrap import Role, build
from tests.architecture.settings_page import filled_in
from tests.contract.conftest import ROOT
from tests.contract.document_comparison import operations
from web.app import create_app

SUPERSETS = (ROOT / "docs" / "supersets.md").read_text(encoding="utf-8")
GROUPS: dict[str, Callable[[str, dict[str, Any]], bool]] = {
    "every address of door one": lambda _method, _operation: True,
    "every address that takes a key": lambda _method, operation: bool(operation.get("security")),
    "every POST of door one": lambda method, _operation: method == "post",
    "every body of door one": lambda _method, operation: "requestBody" in operation,
}
"""Of whom the page speaks together; of each, those are meant that declare the status."""

_ROW = re.compile(r"^\| ([0-9, ]+) \| ([^|]+) \|", re.MULTILINE)


@cache
def application() -> Flask:
    """Return the web's application, without a stack: what it says about itself does not depend on one."""
    return create_app(build(Settings.load(filled_in()), Role.WEB))


@cache
def served(path: str) -> dict[str, Any]:
    """Return a document as it is served."""
    return dict(application().test_client().get(path).get_json())


def named_supersets() -> set[tuple[str, str]]:
    """Return the pairs of code and operationId that the page names one by one."""
    return {(code, name) for code, where in _rows() for name in re.findall(r"`(\w+)`", where)}


def declared_supersets() -> set[tuple[str, str]]:
    """Return those, and the pairs that it declares for all operations of a kind."""
    of_groups = {
        (code, operation["operationId"])
        for code, where in _rows()
        for group in GROUPS.keys() & {where.strip()}
        for method, _, operation in operations(served("/openapi.json"))
        if GROUPS[group](method, operation) and code in operation["responses"]
    }
    return named_supersets() | of_groups


def _rows() -> list[tuple[str, str]]:
    return [(code.strip(), where) for codes, where in _ROW.findall(SUPERSETS) for code in codes.split(",")]
